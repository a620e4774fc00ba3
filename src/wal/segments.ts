import { allocatePages } from "../disk/aligned.ts";
import type { Disk, DiskFile, DurableMethod } from "../disk/disk.ts";
import { preallocate, preallocateSync } from "../disk/preallocate.ts";
import type { RecoveryKernel } from "../kernels/recovery-kernel.ts";
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

/** Of a segment in the kernel's memory so much is read at once: the log's end nearly always leaves most of one over. */
const PIECE_BYTES = 1 << 20;

interface LoadedSegment {
  ordinal: number;
  /** `undefined`: there is no such file. */
  memory: ArrayBufferLike | undefined;
  /** Where it begins there. */
  at: number;
  readBytes: number;
}

/** Reads blocks by their place, a segment at a time; what is not there reads as `undefined`. */
export class SegmentReader {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #segmentBlocks: number;
  readonly #keep: number;
  readonly #kernel: RecoveryKernel | undefined;
  #loaded: LoadedSegment[] = [];

  /**
   * @param keep bytes of segments that stay in memory once read, two at least; or the kernel whose memory they are
   *   read to, all of them, which has room for them already.
   */
  constructor(disk: Disk, directory: string, segmentBlocks: number, keep: number | RecoveryKernel = 0) {
    this.#disk = disk;
    this.#directory = directory;
    this.#segmentBlocks = segmentBlocks;
    this.#kernel = typeof keep === "number" ? undefined : keep;
    const segmentBytes = segmentBlocks * BLOCK_BYTES;
    this.#keep =
      typeof keep === "number" ? Math.max(2, Math.floor(keep / segmentBytes)) : Number.POSITIVE_INFINITY;
  }

  /** The block at a place, as a view of memory that is never reused; a file cut short reads on as zeros. */
  block(sequence: number): Uint8Array | undefined {
    const ordinal = Math.floor(sequence / this.#segmentBlocks);
    const segment = this.#segment(ordinal);
    if (segment.memory === undefined) return undefined;
    const start = (sequence - ordinal * this.#segmentBlocks) * BLOCK_BYTES;
    if (start >= segment.readBytes) this.#readUntil(segment, start + BLOCK_BYTES);
    // The kernel's memory may have moved since.
    return new Uint8Array(this.#kernel?.memory.buffer ?? segment.memory, segment.at + start, BLOCK_BYTES);
  }

  /** Blocks from one on that `block` has for the asking, this one included, after it was asked for. */
  readyFrom(sequence: number): number {
    const ordinal = Math.floor(sequence / this.#segmentBlocks);
    return this.#segment(ordinal).readBytes / BLOCK_BYTES - (sequence - ordinal * this.#segmentBlocks);
  }

  /** One block read by itself, for a look at a segment that is probably not needed. */
  peek(sequence: number): Uint8Array | undefined {
    const ordinal = Math.floor(sequence / this.#segmentBlocks);
    if (!this.#exists(ordinal)) return undefined;
    const bytes = new Uint8Array(BLOCK_BYTES);
    this.#read(ordinal, (sequence - ordinal * this.#segmentBlocks) * BLOCK_BYTES, bytes);
    return bytes;
  }

  #segment(ordinal: number): LoadedSegment {
    let found = this.#loaded.find((each) => each.ordinal === ordinal);
    if (found === undefined) {
      found = this.#room(ordinal);
      this.#loaded = [found, ...this.#loaded.slice(0, this.#keep - 1)];
    }
    return found;
  }

  #room(ordinal: number): LoadedSegment {
    if (!this.#exists(ordinal)) return { ordinal, memory: undefined, at: 0, readBytes: 0 };
    const sizeBytes = this.#segmentBlocks * BLOCK_BYTES;
    const at = this.#kernel?.take(sizeBytes) ?? 0;
    // Not zeroed first: that counts when a full log is read.
    const memory = this.#kernel?.memory.buffer ?? Buffer.allocUnsafeSlow(sizeBytes).buffer;
    return { ordinal, memory, at, readBytes: 0 };
  }

  #readUntil(segment: LoadedSegment, endBytes: number): void {
    const sizeBytes = this.#segmentBlocks * BLOCK_BYTES;
    const { at, readBytes } = segment;
    const pieces = Math.ceil((endBytes - readBytes) / PIECE_BYTES);
    const toBytes =
      this.#kernel === undefined ? sizeBytes : Math.min(sizeBytes, readBytes + pieces * PIECE_BYTES);
    const memory = this.#kernel?.memory.buffer ?? segment.memory!;
    this.#read(segment.ordinal, readBytes, new Uint8Array(memory, at + readBytes, toBytes - readBytes));
    segment.readBytes = toBytes;
  }

  #path(ordinal: number): string {
    return `${this.#directory}/${segmentName(ordinal)}`;
  }

  #exists(ordinal: number): boolean {
    return this.#disk.stat(this.#path(ordinal)) !== undefined;
  }

  #read(ordinal: number, position: number, target: Uint8Array): void {
    const file = this.#disk.open(this.#path(ordinal), { access: "read" });
    try {
      target.fill(0, file.readSync(target, position));
    } finally {
      file.close();
    }
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
