import { crc32c } from "@node-rs/crc32";
import { invariant } from "../assert.ts";
import { allocatePages } from "../disk/aligned.ts";
import { type Disk, type DiskFile, PAGE_BYTES } from "../disk/disk.ts";
import { CHUNK_BYTES_MAX, FRAME_BASES_MAX, FRAME_CHUNKS_MAX, SECTOR_BYTES } from "../limits.ts";
import { seededCrc } from "./crc-of-place.ts";
import { DIGEST_BYTES, SHORT_DIGEST_BYTES } from "./digest.ts";
import {
  FRAME_CHUNK_BYTES,
  FRAME_COST_KIB_MAX,
  FRAME_FIXED_BYTES,
  FRAME_MAGIC,
  type FrameHeader,
  frameHeaderBytes,
  PACK_FORMAT_VERSION,
  PACK_HEADER_BYTES,
  PACK_MAGIC,
  packFileName,
  placeSeed,
  SEAL_BYTES,
  SEAL_MAGIC,
} from "./pack-format.ts";

/** Frames gathered into one write: large enough that a write's own cost vanishes, small enough to stay in cache. */
const WRITE_BYTES = 1 << 20;

/** Room for one more frame, of any size, a seal, and what came before it in its page. */
const FRAME_BYTES_MAX =
  frameHeaderBytes(FRAME_CHUNKS_MAX, FRAME_BASES_MAX) + CHUNK_BYTES_MAX + 1024 + SEAL_BYTES + PAGE_BYTES;

export type FrameToWrite = Omit<FrameHeader, "payloadBytes" | "payloadCrc"> & { payload: Uint8Array };

export function encodePackHeader(storeId: Uint8Array, packId: bigint, timeUs: bigint): Uint8Array {
  const header = Buffer.alloc(PACK_HEADER_BYTES);
  header.set(PACK_MAGIC, 0);
  header.writeUInt16LE(PACK_FORMAT_VERSION, 8);
  header.set(storeId, 16);
  header.writeBigUInt64LE(packId, 32);
  header.writeBigUInt64LE(timeUs, 40);
  header.writeUInt32LE(crc32c(header.subarray(0, 60)), 60);
  return header;
}

/**
 * Writes a frame at `at` of `target` as it will lie in a pack, but for its place: its payload's checksum starts from zero,
 * its header's is missing. Returns where it ends; `placeFrame` does the rest.
 */
export function writeFrame(target: Buffer, at: number, frame: FrameToWrite): number {
  const { chunks, bases, payload } = frame;
  invariant(chunks.length >= 1 && chunks.length <= FRAME_CHUNKS_MAX, "a frame holds 1..255 chunks");
  invariant(bases.length <= FRAME_BASES_MAX, "a frame names at most 8 bases");
  target.writeUInt32LE(FRAME_MAGIC, at);
  target.writeUInt32LE(0, at + 4);
  target.writeUInt32LE(crc32c(payload), at + 8);
  target.writeUInt32LE(payload.byteLength, at + 12);
  target[at + 16] = frame.encoding;
  target[at + 17] = frame.element;
  target[at + 18] = chunks.length;
  target[at + 19] = bases.length;
  target[at + 20] = 0;
  target[at + 21] = frame.depth;
  target.writeUInt16LE(Math.min(frame.costKiB, FRAME_COST_KIB_MAX), at + 22);
  let end = at + FRAME_FIXED_BYTES;
  for (const chunk of chunks) {
    target.set(chunk.digest, end);
    target.writeUInt32LE(chunk.rawBytes, end + DIGEST_BYTES);
    end += FRAME_CHUNK_BYTES;
  }
  for (const base of bases) {
    target.set(base.subarray(0, SHORT_DIGEST_BYTES), end);
    end += SHORT_DIGEST_BYTES;
  }
  target.set(payload, end);
  return end + payload.byteLength;
}

/** Makes a frame that `writeFrame` wrote the one that lies at `offset` of pack `packId`. */
export function placeFrame(frame: Buffer, packId: bigint, offset: number): void {
  const seed = placeSeed(packId, offset);
  const headerBytes = frameHeaderBytes(frame[18]!, frame[19]!);
  frame.writeUInt32LE(seededCrc(frame.readUInt32LE(8), seed, frame.readUInt32LE(12)), 8);
  frame.writeUInt32LE(crc32c(frame.subarray(8, headerBytes), seed), 4);
}

export function encodeSeal(packId: bigint, offset: number, frameCount: number): Uint8Array {
  const seal = Buffer.alloc(SEAL_BYTES);
  seal.writeUInt32LE(SEAL_MAGIC, 0);
  seal.writeBigUInt64LE(BigInt(offset), 8);
  seal.writeBigUInt64LE(BigInt(frameCount), 16);
  seal.writeUInt32LE(crc32c(seal.subarray(8), placeSeed(packId, offset)), 4);
  return seal;
}

function wholeSectors(sizeBytes: number): number {
  return Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES;
}

/**
 * Appends frames to one pack file that it holds locked.
 *
 * Frames are gathered in memory and written a megabyte at a time, one write while the next is gathered; nothing is durable
 * before `sync` returns. Any failed write or sync is final for this writer: the pack is left to its durable part and never
 * written again.
 */
export class PackWriter {
  readonly packId: bigint;
  readonly #file: DiskFile;
  #writtenBytes: number;
  #frameCount: number;
  /**
   * Frames not yet handed to the operating system; allocated with the first. They begin as far into a page of memory as
   * they will into one of the file.
   */
  #gathered: Uint8Array = new Uint8Array(0);
  /** The same memory, to write numbers into. */
  #fields: Buffer = Buffer.alloc(0);
  #gatheredBytes = 0;
  /** Memory that takes what is gathered while the other is being written. */
  #spare: Uint8Array = new Uint8Array(0);
  /** The write under way, or the last one: nothing more is written once one has failed. */
  #writing: Promise<void> = Promise.resolve();
  /** Whether whole pages go around the page cache. */
  aside = false;
  #failed = false;

  private constructor(packId: bigint, file: DiskFile, sizeBytes: number, frameCount: number) {
    this.packId = packId;
    this.#file = file;
    this.#writtenBytes = sizeBytes;
    this.#frameCount = frameCount;
  }

  /**
   * A new, locked pack file; its name is durable once `sync` and a sync of the directory have returned. `undefined`
   * when a collection saw the file first and holds it: it removes it, since nothing is in it.
   */
  static create(
    disk: Disk,
    directory: string,
    storeId: Uint8Array,
    packId: bigint,
    timeUs: bigint,
  ): PackWriter | undefined {
    const file = disk.open(`${directory}/${packFileName(packId)}`, { access: "write", create: "must" });
    if (!file.tryLock("exclusive")) {
      file.close();
      return undefined;
    }
    const writer = new PackWriter(packId, file, 0, 0);
    writer.#gather(encodePackHeader(storeId, packId, timeUs));
    return writer;
  }

  /** Goes on after the last good frame of an unsealed pack whose lock the caller already holds in `file`. */
  static adopt(file: DiskFile, packId: bigint, goodBytes: number, frameCount: number): PackWriter {
    const sizeBytes = wholeSectors(goodBytes);
    if (file.sizeBytes() > goodBytes) file.truncate(goodBytes);
    if (sizeBytes > goodBytes) file.truncate(sizeBytes);
    return new PackWriter(packId, file, sizeBytes, frameCount);
  }

  /** Bytes of the pack with everything appended so far. */
  get sizeBytes(): number {
    return this.#writtenBytes + this.#gatheredBytes;
  }

  /** Whether a write or sync has failed; of a write under way, known once it has ended. */
  get failed(): boolean {
    return this.#failed;
  }

  /** Appends a frame, which is copied before the call returns, and returns its place. */
  async append(frame: FrameToWrite): Promise<{ offset: number; frameBytes: number }> {
    const at = this.#end;
    const frameBytes = writeFrame(this.#room, at, frame) - at;
    const offset = this.#placed(frameBytes);
    if (this.isFull) await this.flush();
    return { offset, frameBytes };
  }

  /**
   * The same for one that `writeFrame` has written; returns where it begins. Once the writer is full, `flush` comes before
   * the next one.
   */
  add(frame: Uint8Array): number {
    this.#room.set(frame, this.#end);
    return this.#placed(frame.byteLength);
  }

  /** Whether as much is gathered as is written at once. */
  get isFull(): boolean {
    return this.#gatheredBytes >= WRITE_BYTES;
  }

  /** A frame of so many bytes has been put where what was gathered ends. */
  #placed(frameBytes: number): number {
    const offset = this.sizeBytes;
    const at = this.#end;
    placeFrame(this.#room.subarray(at, at + frameBytes), this.packId, offset);
    this.#gatheredBytes += frameBytes;
    this.#frameCount += 1;
    return offset;
  }

  #gather(bytes: Uint8Array): void {
    this.#room.set(bytes, this.#end);
    this.#gatheredBytes += bytes.byteLength;
  }

  /** Memory for what is gathered, allocated with the first. */
  get #room(): Buffer {
    if (this.#gathered.byteLength === 0) this.#gatherIn(allocatePages(WRITE_BYTES + FRAME_BYTES_MAX));
    return this.#fields;
  }

  #gatherIn(memory: Uint8Array): void {
    this.#gathered = memory;
    this.#fields = Buffer.from(memory.buffer, memory.byteOffset, memory.byteLength);
  }

  /** Where in memory what was gathered ends. */
  get #end(): number {
    return this.#start + this.#gatheredBytes;
  }

  /** Where in memory what was gathered begins. */
  get #start(): number {
    return this.#writtenBytes % PAGE_BYTES;
  }

  /**
   * Begins to hand what was gathered to the operating system; aside, what fills whole pages, or stripes. Resolves when
   * the next may be gathered, which is before it is written.
   * @throws what the write before failed with
   */
  async flush(): Promise<void> {
    await this.#writing;
    invariant(!this.#failed, "a failed pack is not written again");
    const aside = this.aside && this.#gatheredBytes >= WRITE_BYTES;
    const alignBytes = aside ? Math.min(this.#file.stripeBytes ?? PAGE_BYTES, WRITE_BYTES) : 1;
    const past = this.sizeBytes % alignBytes;
    if (this.#gatheredBytes > past) this.#beginWrite(this.#gatheredBytes - past, aside);
  }

  /** Begins to write the first bytes of what was gathered; the rest moves to where it belongs then, in the other memory. */
  #beginWrite(sizeBytes: number, aside: boolean): void {
    const [memory, start, position] = [this.#gathered, this.#start, this.#writtenBytes];
    const next = this.#spare.byteLength > 0 ? this.#spare : allocatePages(memory.byteLength);
    this.#writtenBytes += sizeBytes;
    this.#gatheredBytes -= sizeBytes;
    const from = start + sizeBytes;
    next.set(memory.subarray(from, from + this.#gatheredBytes), this.#start);
    this.#gatherIn(next);
    this.#spare = memory;
    this.#writing = this.#final(() =>
      this.#writeOut(memory.subarray(start, start + sizeBytes), position, aside),
    );
    // Told to whoever flushes or syncs next.
    this.#writing.catch(() => {});
  }

  /** What does not begin with a page goes through the page cache as far as the next one. */
  async #writeOut(bytes: Uint8Array, position: number, aside: boolean): Promise<void> {
    const inPage = position % PAGE_BYTES;
    const toPage = aside && inPage > 0 ? Math.min(bytes.byteLength, PAGE_BYTES - inPage) : 0;
    if (toPage > 0) await this.#file.write(bytes.subarray(0, toPage), position, { aside: false });
    if (toPage < bytes.byteLength)
      await this.#file.write(bytes.subarray(toPage), position + toPage, { aside });
  }

  /** Waits for a write under way, however it ends: before that the file may be neither cut nor closed. */
  async settle(): Promise<void> {
    await Promise.allSettled([this.#writing]);
  }

  /** Makes everything appended so far durable, and ends its last sector: what follows leaves it alone. */
  async sync(): Promise<void> {
    const padding = wholeSectors(this.sizeBytes) - this.sizeBytes;
    if (padding > 0) this.#gather(new Uint8Array(padding));
    await this.#syncFile();
  }

  async #syncFile(): Promise<void> {
    await this.flush();
    await this.#writing;
    if (this.#gatheredBytes > 0) this.#beginWrite(this.#gatheredBytes, false);
    await this.#writing;
    await this.#final(() => this.#file.sync());
  }

  async #final(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }

  /** Drops everything after `sizeBytes`, where the pack stood when the failed save began. Best effort. */
  async cutBack(sizeBytes: number, frameCount: number): Promise<void> {
    await this.settle();
    this.#gatheredBytes = 0;
    this.#writtenBytes = Math.min(this.#writtenBytes, sizeBytes);
    this.#frameCount = frameCount;
    this.#file.truncate(this.#writtenBytes);
  }

  get frameCount(): number {
    return this.#frameCount;
  }

  /** Ends the pack: nothing will be appended to it again. */
  async seal(): Promise<void> {
    invariant(this.sizeBytes % SECTOR_BYTES === 0, "a pack is sealed once it is synced");
    this.#gather(encodeSeal(this.packId, this.sizeBytes, this.#frameCount));
    await this.#syncFile();
  }

  /** Frees the lock. An unsealed pack may be adopted by the next writer. */
  close(): void {
    this.#file.close();
  }
}
