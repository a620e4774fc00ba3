import type { Random } from "./random.ts";

export const SECTOR_BYTES = 512;
const PAGE = 4096;
const SECTORS_PER_PAGE = PAGE / SECTOR_BYTES;

/** What a power cut does to sectors that were not yet durable. */
export type CrashMode = "old" | "new" | "mixed" | "garbage";

type Pages = (Uint8Array | undefined)[];

/**
 * The contents of one file: what a reader sees now, what is on the device for certain, and which values each
 * sector in between may have after a power cut. Pages are never changed in place, so copies share them.
 */
export class SectorFile {
  sizeBytes = 0;
  #durableSizeBytes = 0;
  #pages: Pages = [];
  #durablePages: Pages = [];
  /** Values written to a sector since it was last durable, oldest first. */
  #unsynced = new Map<number, Uint8Array[]>();
  /** Sectors whose sync failed: the kernel calls them clean, so that no later sync writes them. */
  #forsaken = new Set<number>();

  clone(): SectorFile {
    const copy = new SectorFile();
    copy.sizeBytes = this.sizeBytes;
    copy.#durableSizeBytes = this.#durableSizeBytes;
    copy.#pages = this.#pages.slice();
    copy.#durablePages = this.#durablePages.slice();
    for (const [sector, values] of this.#unsynced) copy.#unsynced.set(sector, values.slice());
    copy.#forsaken = new Set(this.#forsaken);
    return copy;
  }

  read(target: Uint8Array, position: number): number {
    const end = Math.min(this.sizeBytes, position + target.byteLength);
    let at = position;
    while (at < end) {
      const inPage = at % PAGE;
      const count = Math.min(PAGE - inPage, end - at);
      const page = this.#pages[Math.floor(at / PAGE)];
      if (page === undefined) target.fill(0, at - position, at - position + count);
      else target.set(page.subarray(inPage, inPage + count), at - position);
      at += count;
    }
    return Math.max(0, end - position);
  }

  write(source: Uint8Array, position: number, durable: boolean): void {
    if (source.byteLength === 0) return;
    const end = position + source.byteLength;
    overlay(this.#pages, source, position);
    this.sizeBytes = Math.max(this.sizeBytes, end);
    if (durable) {
      overlay(this.#durablePages, source, position);
      this.#durableSizeBytes = Math.max(this.#durableSizeBytes, end);
    }
    const last = Math.floor((end - 1) / SECTOR_BYTES);
    for (let sector = Math.floor(position / SECTOR_BYTES); sector <= last; sector++) {
      this.#forsaken.delete(sector);
      if (durable) {
        this.#unsynced.delete(sector);
        continue;
      }
      const value = sectorOf(this.#pages, sector) ?? new Uint8Array(SECTOR_BYTES);
      const values = this.#unsynced.get(sector);
      if (values === undefined) this.#unsynced.set(sector, [value]);
      else values.push(value);
    }
  }

  /** Changes bytes behind everybody's back, on the device and in every view: rot. */
  flip(bitOffset: number): void {
    const position = Math.floor(bitOffset / 8);
    const byte = new Uint8Array(1);
    this.read(byte, position);
    byte[0]! ^= 1 << (bitOffset % 8);
    overlay(this.#pages, byte, position);
    overlay(this.#durablePages, byte, position);
  }

  truncate(sizeBytes: number): void {
    if (sizeBytes < this.sizeBytes) cut(this.#pages, sizeBytes);
    this.sizeBytes = sizeBytes;
  }

  sync(): void {
    const durable = this.#pages.slice();
    for (const sector of this.#forsaken) {
      const old = sectorOf(this.#durablePages, sector) ?? new Uint8Array(SECTOR_BYTES);
      overlay(durable, old, sector * SECTOR_BYTES);
    }
    this.#durablePages = durable;
    this.#durableSizeBytes = this.sizeBytes;
    for (const sector of this.#unsynced.keys()) {
      if (!this.#forsaken.has(sector)) this.#unsynced.delete(sector);
    }
  }

  /** A sync that failed: what it should have written may or may not be there, and no later sync will say. */
  failSync(): void {
    for (const sector of this.#unsynced.keys()) this.#forsaken.add(sector);
  }

  /** The file as it is found after a power cut. */
  crashed(random: Random, mode: CrashMode): SectorFile {
    const file = new SectorFile();
    const pages = this.#durablePages.slice();
    for (const [sector, values] of this.#unsynced) {
      const value = survivor(values, random, mode);
      if (value !== undefined) overlay(pages, value, sector * SECTOR_BYTES);
    }
    const size = crashedSize(this.#durableSizeBytes, this.sizeBytes, random, mode);
    cut(pages, size);
    file.#pages = pages;
    file.#durablePages = pages.slice();
    file.sizeBytes = size;
    file.#durableSizeBytes = size;
    return file;
  }
}

/** `undefined`: the sector kept its old value. */
function survivor(values: Uint8Array[], random: Random, mode: CrashMode): Uint8Array | undefined {
  if (mode === "old") return undefined;
  if (mode === "new") return values.at(-1);
  const kind = random.below(mode === "garbage" ? 4 : 2);
  if (kind === 0) return undefined;
  if (kind === 1) return random.pick(values);
  if (kind === 2) return random.fill(new Uint8Array(SECTOR_BYTES));
  const torn = random.pick(values).slice();
  random.fill(torn.subarray(random.below(SECTOR_BYTES)));
  return torn;
}

function crashedSize(durable: number, current: number, random: Random, mode: CrashMode): number {
  if (mode === "old" || durable === current) return durable;
  if (mode === "new") return current;
  const low = Math.min(durable, current);
  return random.pick([durable, current, low + random.below(Math.abs(current - durable) + 1)]);
}

function sectorOf(pages: Pages, sector: number): Uint8Array | undefined {
  const start = (sector % SECTORS_PER_PAGE) * SECTOR_BYTES;
  return pages[Math.floor(sector / SECTORS_PER_PAGE)]?.subarray(start, start + SECTOR_BYTES);
}

function overlay(pages: Pages, source: Uint8Array, position: number): void {
  let done = 0;
  while (done < source.byteLength) {
    const index = Math.floor((position + done) / PAGE);
    const inPage = (position + done) % PAGE;
    const count = Math.min(PAGE - inPage, source.byteLength - done);
    const page = pages[index]?.slice() ?? new Uint8Array(PAGE);
    page.set(source.subarray(done, done + count), inPage);
    pages[index] = page;
    done += count;
  }
}

/** Forgets everything from `sizeBytes` on, so that a file that grows again shows zeros there. */
function cut(pages: Pages, sizeBytes: number): void {
  pages.length = Math.min(pages.length, Math.ceil(sizeBytes / PAGE));
  const rest = sizeBytes % PAGE;
  const last = pages[Math.floor(sizeBytes / PAGE)];
  if (rest === 0 || last === undefined) return;
  const page = last.slice();
  page.fill(0, rest);
  pages[Math.floor(sizeBytes / PAGE)] = page;
}
