import { crc32c } from "@node-rs/crc32";
import { PATCH_ID } from "../codec/encodings/patch.ts";
import { shortCrc } from "./crc-of-place.ts";
import { FRAME_MAGIC } from "./pack-format.ts";
import type { PackReader } from "./pack-reader.ts";
import { PATCH_BASE_AT, PATCH_DIGEST_AT, PATCH_HEADER_BYTES, PATCH_RAW_BYTES_AT } from "./patch-frame.ts";

/** Magic of a frame, as bytes: what follows is compared byte by byte, without a view of its own. */
const MAGIC = [0, 8, 16, 24].map((shift) => (FRAME_MAGIC >>> shift) & 0xff);

/**
 * Frames of patches that lie one behind the other in packs, read a stretch at a time into memory where they stay.
 *
 * What one save appended for neighbouring chunks are neighbours: one call reads the frames of all of them. A frame is
 * checked where it was read, by the same checksums as any, and its fields are read from there: a run of patches has
 * hundreds of frames for each chunk, and an object for each would cost more than its bytes.
 */
export class PatchFrames {
  readonly #packs: PackReader;
  /** Payloads that are in use lie before `#usedBytes`. */
  readonly bytes: Uint8Array;
  #usedBytes = 0;
  /** Where in `bytes` the next frame begins, and how far bytes were read. */
  #at = 0;
  #end = 0;
  #packId = 0n;
  #offset = 0;
  #atEndOfPack = false;
  readonly #place = Buffer.alloc(16);

  constructor(packs: PackReader, sizeBytes: number) {
    this.#packs = packs;
    this.bytes = new Uint8Array(sizeBytes);
  }

  /** Forgets all frames. */
  clear(): void {
    this.#usedBytes = 0;
    this.#at = 0;
    this.#end = 0;
  }

  /** Where the payload of the frame at hand begins, */
  get payloadStart(): number {
    return this.#at + PATCH_HEADER_BYTES;
  }

  /** where it ends, */
  get payloadEnd(): number {
    return this.payloadStart + uint32(this.bytes, this.#at + 12);
  }

  /** where the name of its base is, */
  get baseAt(): number {
    return this.#at + PATCH_BASE_AT;
  }

  /** where the digest of its chunk is, */
  get digestAt(): number {
    return this.#at + PATCH_DIGEST_AT;
  }

  /** and how large that chunk is. */
  get rawBytes(): number {
    return uint32(this.bytes, this.#at + PATCH_RAW_BYTES_AT);
  }

  /** Reads a stretch of a pack; its first frame is at hand when this says that it is a patch and undamaged. */
  seek(packId: bigint, offset: number, sizeBytes: number): boolean {
    if (packId !== this.#packId) this.#place.writeBigUInt64LE(packId, 0);
    this.#packId = packId;
    this.#offset = offset;
    return this.#fill(sizeBytes) && this.isPatch();
  }

  /** Bytes of the frames that are kept. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** The frame at hand stays in memory, and is at hand no longer: the next one begins behind it. */
  keep(): void {
    const end = this.payloadEnd;
    this.#offset += end - this.#at;
    this.#at = end;
    this.#usedBytes = end;
  }

  /** Reads on from where the next frame begins. */
  #fill(sizeBytes: number): boolean {
    const start = this.#usedBytes;
    const wanted = Math.min(sizeBytes, this.bytes.byteLength - start);
    const read = this.#packs.readRaw(this.#packId, this.#offset, this.bytes.subarray(start, start + wanted));
    this.#at = start;
    this.#end = start + read;
    this.#atEndOfPack = read < wanted;
    return read >= PATCH_HEADER_BYTES;
  }

  /** Whether what comes next is the undamaged frame of one patch: it is at hand then. What is missing of it is read. */
  isPatch(): boolean {
    if (this.#at + PATCH_HEADER_BYTES > this.#end && !this.#more(PATCH_HEADER_BYTES)) return false;
    const { bytes } = this;
    let at = this.#at;
    if (bytes[at] !== MAGIC[0] || bytes[at + 1] !== MAGIC[1]) return false;
    if (bytes[at + 2] !== MAGIC[2] || bytes[at + 3] !== MAGIC[3]) return false;
    if (bytes[at + 16] !== PATCH_ID || bytes[at + 18] !== 1 || bytes[at + 19] !== 1 || bytes[at + 20] !== 0)
      return false;
    this.#place.writeUInt32LE(this.#offset % 2 ** 32, 8);
    this.#place.writeUInt32LE(Math.floor(this.#offset / 2 ** 32), 12);
    const seed = shortCrc(this.#place, 0, 16, 0);
    if (shortCrc(bytes, at + 8, at + PATCH_HEADER_BYTES, seed) !== uint32(bytes, at + 4)) return false;
    const frameBytes = PATCH_HEADER_BYTES + uint32(bytes, at + 12);
    if (at + frameBytes > this.#end && !this.#more(frameBytes)) return false;
    at = this.#at;
    const payload = bytes.subarray(at + PATCH_HEADER_BYTES, at + frameBytes);
    return crc32c(payload, seed) === uint32(bytes, at + 8);
  }

  /** Reads from the next frame's place once more, at least so much. */
  #more(sizeBytes: number): boolean {
    if (this.#atEndOfPack || this.#usedBytes + sizeBytes > this.bytes.byteLength) return false;
    return this.#fill(Math.max(sizeBytes, MORE_BYTES)) && this.#end - this.#at >= sizeBytes;
  }
}

/** Read at once when a stretch turns out to be longer than thought: the frames of a few chunks. */
const MORE_BYTES = 16 << 10;

function uint32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}
