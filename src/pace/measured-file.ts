import type { DiskFile, DurableMethod, FileMap } from "../disk/disk.ts";
import { StripedFile } from "./stripes.ts";

/** What a measured file tells its disk and asks it. */
export interface Watch {
  /** Without a time: bytes that nobody timed. */
  onWrite(sizeBytes: number, us?: number): void;
  onSync(us: number): void;
  /** Bytes after which what was written is made durable. */
  sliceBytes(): number;
  betweenSlices(): Promise<void>;
  /** Whether commits are going on. */
  committing(): boolean;
}

/** Writes into the page cache that take hardly longer than looking at the clock: one of so many is timed. */
const SMALL_BYTES = 4096;
const TIMED_EVERY = 32;

export class MeasuredFile implements DiskFile {
  readonly path: string;
  readonly durability: DurableMethod | undefined;
  readonly #file: DiskFile;
  readonly #watch: Watch;
  readonly #stripes: StripedFile | undefined;
  #unsyncedBytes = 0;
  /** Small writes so far. */
  #small = 0;

  /** @param stripeBytes of the device, for files that are written in bulk. */
  constructor(file: DiskFile, watch: Watch, stripeBytes?: number) {
    this.path = file.path;
    this.durability = file.durability;
    this.#file = file;
    this.#watch = watch;
    if (stripeBytes !== undefined) this.#stripes = new StripedFile(file, stripeBytes);
  }

  get stripeBytes(): number | undefined {
    return this.#stripes?.stripeBytes;
  }

  writeSync(source: Uint8Array, position: number): void {
    if (
      this.durability === undefined &&
      source.byteLength < SMALL_BYTES &&
      ++this.#small % TIMED_EVERY !== 0
    ) {
      this.#file.writeSync(source, position);
      this.#watch.onWrite(source.byteLength);
      return;
    }
    const start = performance.now();
    this.#file.writeSync(source, position);
    this.#watch.onWrite(source.byteLength, (performance.now() - start) * 1000);
  }

  async write(source: Uint8Array, position: number, options: { aside?: boolean } = {}): Promise<void> {
    const end = position + source.byteLength;
    await this.#stripes?.reserve(end);
    if (this.#unsyncedBytes + source.byteLength < this.#watch.sliceBytes()) {
      return this.#write(source, position, options);
    }
    const sliceEnd = this.#stripes?.lastEnd(end) ?? end;
    // A stripe that this write does not fill is filled by the next ones, and the slice ends with it.
    if (sliceEnd <= position) return this.#write(source, position, options);
    const inSlice = sliceEnd - position;
    await this.#write(
      inSlice === source.byteLength ? source : source.subarray(0, inSlice),
      position,
      options,
    );
    await this.sync();
    await this.#watch.betweenSlices();
    if (sliceEnd < end) await this.#write(source.subarray(inSlice), sliceEnd, options);
  }

  async #write(source: Uint8Array, position: number, options: { aside?: boolean }): Promise<void> {
    const start = performance.now();
    // What goes straight to the device is in the way of a commit from its first byte to its last.
    const aside = options.aside === true && !this.#watch.committing();
    await this.#file.write(source, position, { aside });
    this.#watch.onWrite(source.byteLength, (performance.now() - start) * 1000);
    this.#unsyncedBytes += source.byteLength;
  }

  syncSync(): void {
    const start = performance.now();
    this.#file.syncSync();
    this.#watch.onSync((performance.now() - start) * 1000);
    this.#unsyncedBytes = 0;
  }

  async sync(): Promise<void> {
    const start = performance.now();
    this.#unsyncedBytes = 0;
    await this.#file.sync();
    this.#watch.onSync((performance.now() - start) * 1000);
  }

  sizeBytes(): number {
    return this.#file.sizeBytes();
  }
  readSync(target: Uint8Array, position: number): number {
    return this.#file.readSync(target, position);
  }
  read(target: Uint8Array, position: number): Promise<number> {
    return this.#file.read(target, position);
  }
  readVector(targets: readonly Uint8Array[], position: number): Promise<number> {
    return this.#file.readVector(targets, position);
  }
  map(position: number, end: number): FileMap | undefined {
    const map = this.#file.map?.(position, end);
    return map && new MeasuredMap(map, this.#watch);
  }
  readyToMap(): boolean {
    return this.#file.readyToMap?.() ?? true;
  }
  truncate(sizeBytes: number): void {
    this.#file.truncate(sizeBytes);
  }
  tryLock(mode: "shared" | "exclusive"): boolean {
    return this.#file.tryLock(mode);
  }
  lock(mode: "shared" | "exclusive"): Promise<void> {
    return this.#file.lock(mode);
  }
  unlock(): void {
    this.#file.unlock();
  }
  close(): void {
    this.#stripes?.release();
    this.#file.close();
  }
}

class MeasuredMap implements FileMap {
  readonly end: number;
  readonly #map: FileMap;
  readonly #watch: Watch;
  #puts = 0;
  /** Put since the last one that was timed. */
  #bytes = 0;

  constructor(map: FileMap, watch: Watch) {
    this.end = map.end;
    this.#map = map;
    this.#watch = watch;
  }

  put(source: DataView, sizeBytes: number, position: number): boolean {
    this.#bytes += sizeBytes;
    if (++this.#puts % TIMED_EVERY !== 0) return this.#map.put(source, sizeBytes, position);
    const start = performance.now();
    const done = this.#map.put(source, sizeBytes, position);
    this.#watch.onWrite(this.#bytes, (performance.now() - start) * 1000);
    this.#bytes = 0;
    return done;
  }

  close(): void {
    this.#map.close();
    this.#watch.onWrite(this.#bytes);
    this.#bytes = 0;
  }
}
