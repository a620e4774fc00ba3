import { allocatePages } from "../disk/aligned.ts";
import type { Disk, DiskFile, DurableMethod } from "../disk/disk.ts";
import { preallocate, preallocateSync } from "../disk/preallocate.ts";
import { BLOCK_BYTES } from "./format.ts";

const SEGMENT_NAME = /^wal-(\d{12})\.seg$/;
const SPARE_NAME = /^wal-.*\.tmp$/;

export function segmentName(ordinal: number): string {
  return `wal-${String(ordinal).padStart(12, "0")}.seg`;
}

/** The ordinals of the segments in a directory, ascending. */
export function listSegments(disk: Disk, directory: string): number[] {
  return disk
    .list(directory)
    .map((name) => SEGMENT_NAME.exec(name))
    .filter((match) => match !== null)
    .map((match) => Number(match[1]));
}

/** Blocks by their place; what is not there reads as `undefined`. */
export interface BlockReader {
  block(sequence: number): Uint8Array | undefined;
  /** One block read by itself, for a look at a segment that is probably not needed. */
  peek(sequence: number): Uint8Array | undefined;
}

interface LoadedSegment {
  ordinal: number;
  /** `undefined`: there is no such file. */
  bytes: Uint8Array | undefined;
}

/** Reads a segment at a time. */
export class SegmentReader implements BlockReader {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #segmentBlocks: number;
  readonly #keep: number;
  #loaded: LoadedSegment[] = [];

  /** @param keepBytes of segments that stay in memory once read: two at least. */
  constructor(disk: Disk, directory: string, segmentBlocks: number, keepBytes = 0) {
    this.#disk = disk;
    this.#directory = directory;
    this.#segmentBlocks = segmentBlocks;
    this.#keep = Math.max(2, Math.floor(keepBytes / (segmentBlocks * BLOCK_BYTES)));
  }

  /** The block at a place, as a view of memory that is never reused; a file cut short reads on as zeros. */
  block(sequence: number): Uint8Array | undefined {
    const ordinal = Math.floor(sequence / this.#segmentBlocks);
    let found = this.#loaded.find((each) => each.ordinal === ordinal);
    if (found === undefined) {
      found = { ordinal, bytes: this.#segment(ordinal) };
      this.#loaded = [found, ...this.#loaded.slice(0, this.#keep - 1)];
    }
    const start = (sequence - ordinal * this.#segmentBlocks) * BLOCK_BYTES;
    return found.bytes?.subarray(start, start + BLOCK_BYTES);
  }

  peek(sequence: number): Uint8Array | undefined {
    const bytes = new Uint8Array(BLOCK_BYTES);
    return this.read(sequence, bytes) ? bytes : undefined;
  }

  /** Reads blocks of one segment, the first of them by its place; `false` when there is no such file. */
  read(sequence: number, target: Uint8Array): boolean {
    const ordinal = Math.floor(sequence / this.#segmentBlocks);
    const path = `${this.#directory}/${segmentName(ordinal)}`;
    if (this.#disk.stat(path) === undefined) return false;
    const file = this.#disk.open(path, { access: "read" });
    try {
      target.fill(0, file.readSync(target, (sequence - ordinal * this.#segmentBlocks) * BLOCK_BYTES));
    } finally {
      file.close();
    }
    return true;
  }

  #segment(ordinal: number): Uint8Array | undefined {
    // Not zeroed first: that counts when a full log is read.
    const bytes = new Uint8Array(Buffer.allocUnsafeSlow(this.#segmentBlocks * BLOCK_BYTES).buffer);
    return this.read(ordinal * this.#segmentBlocks, bytes) ? bytes : undefined;
  }
}

export interface SegmentsOptions {
  disk: Disk;
  directory: string;
  segmentBlocks: number;
  /** Demands one way of making writes durable instead of the fastest the file system accepts. */
  durable?: DurableMethod;
}

/**
 * One directory of preallocated segments, written by one process. A segment's ordinal is part of its name and
 * fixes which sequences lie in it; a segment that is not needed any more is renamed to the next ordinal.
 *
 * A segment is *ready* when its zeros (or stale blocks) and its name are durable: only then may an acknowledged
 * block lie in it.
 */
export class Segments {
  readonly disk: Disk;
  readonly directory: string;
  readonly segmentBlocks: number;
  readonly #durable: true | DurableMethod;
  readonly #files = new Map<number, DiskFile>();
  #ordinals: number[];
  readonly #ready = new Set<number>();
  /** Changes of names so far, and how many of them are durable. */
  #nameChanges = 0;
  #nameChangesSynced = 0;
  #recycledBelow = 0;
  #spares = 0;

  constructor(options: SegmentsOptions) {
    this.disk = options.disk;
    this.directory = options.directory;
    this.segmentBlocks = options.segmentBlocks;
    this.#durable = options.durable ?? true;
    this.#ordinals = listSegments(this.disk, this.directory);
  }

  /** How writes become durable here, once a segment was written. */
  get durability(): DurableMethod | undefined {
    return this.#files.values().next().value?.durability;
  }

  get ordinals(): readonly number[] {
    return this.#ordinals;
  }

  get highest(): number {
    return this.#ordinals.at(-1) ?? 0;
  }

  path(ordinal: number): string {
    return `${this.directory}/${segmentName(ordinal)}`;
  }

  has(ordinal: number): boolean {
    return this.#ordinals.includes(ordinal);
  }

  /** Makes names durable that a crashed process may have left unsynced, and removes half-made segments. */
  adopt(): void {
    for (const name of this.disk.list(this.directory)) {
      if (SPARE_NAME.test(name)) this.disk.remove(`${this.directory}/${name}`);
    }
    this.disk.syncDirectory(this.directory);
    for (const ordinal of this.#ordinals) this.#ready.add(ordinal);
  }

  /** Makes what was read from a segment durable: it may have come from the page cache of a crashed process. */
  sync(ordinal: number): void {
    const file = this.disk.open(this.path(ordinal), { access: "write" });
    try {
      file.syncSync();
    } finally {
      file.close();
    }
  }

  /** Writes whole blocks at a sequence; durable when it returns. May span two segments, both ready. */
  write(sequence: number, bytes: Uint8Array): void {
    let done = 0;
    while (done < bytes.byteLength) {
      const at = sequence + done / BLOCK_BYTES;
      const ordinal = Math.floor(at / this.segmentBlocks);
      const index = at - ordinal * this.segmentBlocks;
      const count = Math.min(bytes.byteLength - done, (this.segmentBlocks - index) * BLOCK_BYTES);
      const part = count === bytes.byteLength ? bytes : bytes.subarray(done, done + count);
      this.#file(ordinal).writeSync(part, index * BLOCK_BYTES);
      done += count;
    }
  }

  /** Rewrites blocks of a recovered log from unaligned memory, making missing segments first. */
  repair(sequence: number, bytes: Uint8Array): void {
    const last = Math.floor((sequence + bytes.byteLength / BLOCK_BYTES - 1) / this.segmentBlocks);
    for (let ordinal = Math.floor(sequence / this.segmentBlocks); ordinal <= last; ordinal++) {
      if (!this.has(ordinal)) this.#createSync(ordinal);
    }
    this.#syncNames();
    const aligned = allocatePages(bytes.byteLength);
    aligned.set(bytes);
    this.write(sequence, aligned);
  }

  isReady(ordinal: number): boolean {
    return this.#ready.has(ordinal);
  }

  /** Makes a segment ready on the caller's thread: only when preparation ahead did not keep up. */
  ensureSync(ordinal: number): void {
    if (!this.has(ordinal)) this.#createSync(ordinal);
    this.#syncNames();
  }

  /** Makes the segments between two ordinals ready, off the caller's thread; a crash may have left gaps. */
  async prepare(from: number, to: number): Promise<void> {
    for (let ordinal = from; ordinal <= to; ordinal++) {
      if (this.has(ordinal)) continue;
      const spare = this.#sparePath();
      await preallocate(this.disk, spare, this.segmentBlocks * BLOCK_BYTES);
      // The commit path may have made the same segment meanwhile, and even be past it: this one becomes the next.
      const isTaken = this.has(ordinal) || ordinal < this.#recycledBelow;
      this.#adoptSpare(spare, isTaken ? this.highest + 1 : ordinal);
    }
    await this.syncNames();
  }

  /** Gives segments below an ordinal new names beyond the highest, up to `spareTo`; removes the others. */
  recycle(belowOrdinal: number, spareTo: number): void {
    this.#recycledBelow = belowOrdinal;
    for (const ordinal of this.#ordinals.filter((each) => each < belowOrdinal)) {
      this.#files.get(ordinal)?.close();
      this.#files.delete(ordinal);
      this.#nameChanges++;
      this.#ready.delete(ordinal);
      this.#ordinals.shift();
      if (this.highest < spareTo) {
        const next = this.highest + 1;
        this.disk.rename(this.path(ordinal), this.path(next));
        this.#ordinals.push(next);
      } else {
        this.disk.remove(this.path(ordinal));
      }
    }
  }

  async syncNames(): Promise<void> {
    if (this.#nameChanges > this.#nameChangesSynced) await this.#syncNamesAsync();
  }

  close(): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
  }

  #file(ordinal: number): DiskFile {
    const open = this.#files.get(ordinal);
    if (open !== undefined) return open;
    const file = this.disk.open(this.path(ordinal), { access: "write", durable: this.#durable });
    for (const [other, old] of this.#files) {
      if (other >= ordinal - 1) continue;
      old.close();
      this.#files.delete(other);
    }
    this.#files.set(ordinal, file);
    return file;
  }

  #createSync(ordinal: number): void {
    const spare = this.#sparePath();
    preallocateSync(this.disk, spare, this.segmentBlocks * BLOCK_BYTES);
    this.#adoptSpare(spare, ordinal);
  }

  #adoptSpare(spare: string, ordinal: number): void {
    this.disk.rename(spare, this.path(ordinal));
    this.#ordinals = [...this.#ordinals, ordinal].sort((a, b) => a - b);
    this.#nameChanges++;
  }

  #sparePath(): string {
    return `${this.directory}/wal-new-${++this.#spares}.tmp`;
  }

  #syncNames(): void {
    if (this.#nameChanges === this.#nameChangesSynced) return;
    this.disk.syncDirectory(this.directory);
    this.#namesAreSynced(this.#nameChanges, this.#ordinals);
  }

  async #syncNamesAsync(): Promise<void> {
    const [changes, ordinals] = [this.#nameChanges, this.#ordinals.slice()];
    await this.disk.syncDirectoryAsync(this.directory);
    this.#namesAreSynced(changes, ordinals);
  }

  /** Only the changes made before a sync began are durable when it ends. */
  #namesAreSynced(changes: number, ordinals: readonly number[]): void {
    this.#nameChangesSynced = Math.max(this.#nameChangesSynced, changes);
    for (const ordinal of ordinals) if (this.has(ordinal)) this.#ready.add(ordinal);
  }
}
