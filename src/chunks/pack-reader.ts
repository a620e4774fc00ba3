import { crc32c } from "@node-rs/crc32";
import { raw } from "../codec/encodings/raw.ts";
import type { Disk, DiskFile } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import { CHUNK_BYTES_MAX, FRAME_BASES_MAX } from "../limits.ts";
import { DIGEST_BYTES, SHORT_DIGEST_BYTES, sameDigest } from "./digest.ts";
import {
  FRAME_CHUNK_BYTES,
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

/** The widest header a frame can have: what a scan reads at once. */
export const FRAME_HEADER_BYTES_MAX = frameHeaderBytes(255, FRAME_BASES_MAX);

/** A payload is never larger than the raw bytes it stands for, but for the few bytes an encoding may add. */
const PAYLOAD_BYTES_MAX = CHUNK_BYTES_MAX + 1024;

export interface Frame {
  header: FrameHeader;
  payload: Uint8Array;
}

/** Why bytes are not a good frame; `undefined` when they are. */
export type FrameDamage = "magic" | "header checksum" | "header fields" | "payload checksum" | "truncated";

/**
 * Reads a frame's header from the start of `bytes`, which may hold more than the header. Returns what is wrong
 * instead of throwing: whether damage is an error is the caller's to say.
 */
export function decodeFrameHeader(
  bytes: Uint8Array,
  packId: bigint,
  offset: number,
): FrameHeader | FrameDamage {
  if (bytes.byteLength < FRAME_FIXED_BYTES) return "truncated";
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.readUInt32LE(0) !== FRAME_MAGIC) return "magic";
  const chunkCount = view[18]!;
  const baseCount = view[19]!;
  const tableCount = view[20]!;
  const headerBytes = frameHeaderBytes(chunkCount, baseCount + tableCount);
  if (bytes.byteLength < headerBytes) return "truncated";
  if (crc32c(view.subarray(8, headerBytes), placeSeed(packId, offset)) !== view.readUInt32LE(4)) {
    return "header checksum";
  }
  const payloadBytes = view.readUInt32LE(12);
  if (chunkCount === 0 || baseCount > FRAME_BASES_MAX || tableCount > 0 || payloadBytes > PAYLOAD_BYTES_MAX) {
    return "header fields";
  }
  const chunks = [];
  let at = FRAME_FIXED_BYTES;
  let rawBytes = 0;
  for (let i = 0; i < chunkCount; i++, at += FRAME_CHUNK_BYTES) {
    const digest = Buffer.from(view.subarray(at, at + DIGEST_BYTES));
    const chunkBytes = view.readUInt32LE(at + DIGEST_BYTES);
    rawBytes += chunkBytes;
    chunks.push({ digest, rawBytes: chunkBytes });
  }
  if (rawBytes > CHUNK_BYTES_MAX) return "header fields";
  const bases = [];
  for (let i = 0; i < baseCount; i++, at += SHORT_DIGEST_BYTES) {
    bases.push(Buffer.from(view.subarray(at, at + SHORT_DIGEST_BYTES)));
  }
  return {
    encoding: view[16]!,
    element: view[17]!,
    chunks,
    bases,
    depth: view[21]!,
    costKiB: view.readUInt16LE(22),
    payloadBytes,
    payloadCrc: view.readUInt32LE(8),
  };
}

/** Reads a whole frame from exactly its bytes. */
export function decodeFrame(bytes: Uint8Array, packId: bigint, offset: number): Frame | FrameDamage {
  const header = decodeFrameHeader(bytes, packId, offset);
  if (typeof header === "string") return header;
  const headerBytes = frameHeaderBytes(header.chunks.length, header.bases.length);
  if (bytes.byteLength < headerBytes + header.payloadBytes) return "truncated";
  const payload = bytes.subarray(headerBytes, headerBytes + header.payloadBytes);
  if (crc32c(payload, placeSeed(packId, offset)) !== header.payloadCrc) return "payload checksum";
  return { header, payload };
}

/** Checks a pack's first bytes: `ERR_STORE_VERSION` for a newer format, a text that says what is wrong else. */
export function checkPackHeader(bytes: Uint8Array, packId: bigint, storeId: Uint8Array): string | undefined {
  const header = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (header.byteLength < PACK_HEADER_BYTES) return "shorter than its header";
  if (!header.subarray(0, 8).equals(PACK_MAGIC)) return "its magic is wrong";
  if (crc32c(header.subarray(0, 60)) !== header.readUInt32LE(60)) return "its header's checksum is wrong";
  refuseNewer(header, packId);
  if (header.readBigUInt64LE(32) !== packId) return "its header names another pack";
  if (!header.subarray(16, 32).equals(storeId)) return "it belongs to another store";
  return undefined;
}

/** A damaged header says nothing of the format; frames behind it are good or not by their own checksums. */
function refuseNewer(header: Buffer, packId: bigint): void {
  if (header.byteLength < PACK_HEADER_BYTES || !header.subarray(0, 8).equals(PACK_MAGIC)) return;
  if (crc32c(header.subarray(0, 60)) !== header.readUInt32LE(60)) return;
  const version = header.readUInt16LE(8);
  if (version <= PACK_FORMAT_VERSION) return;
  throw new StoreError(
    "ERR_STORE_VERSION",
    `pack ${packFileName(packId)} has format ${version}, newer than this varve`,
    { hint: "Open the store with the varve that wrote it, or a newer one." },
  );
}

function readStart(file: DiskFile): Buffer {
  const header = Buffer.alloc(PACK_HEADER_BYTES);
  return header.subarray(0, file.readSync(header, 0));
}

/** Whether `bytes`, the last 24 of a pack that ends at `offset + 24`, are its seal. */
export function isSeal(bytes: Uint8Array, packId: bigint, offset: number): boolean {
  const seal = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return (
    seal.byteLength === SEAL_BYTES &&
    seal.readUInt32LE(0) === SEAL_MAGIC &&
    seal.readUInt32LE(4) === crc32c(seal.subarray(8), placeSeed(packId, offset)) &&
    seal.readBigUInt64LE(8) === BigInt(offset)
  );
}

/** Open pack files a reader keeps: enough for the packs one restore touches, far below any descriptor limit. */
const OPEN_PACKS_MAX = 64;

/** Chunks that are stored as they are, each in a frame of its own, one behind the other from `offset` on. */
export interface StoredRun {
  packId: bigint;
  offset: number;
  chunks: { digest: Uint8Array; target: Uint8Array }[];
}

/** Bytes of the frame of a chunk that is stored as it is. */
export function storedFrameBytes(rawBytes: number): number {
  return frameHeaderBytes(1, 0) + rawBytes;
}

function isStoredFrame(
  headerBytes: Uint8Array,
  packId: bigint,
  offset: number,
  digest: Uint8Array,
  rawBytes: number,
): boolean {
  const header = decodeFrameHeader(headerBytes, packId, offset);
  if (typeof header === "string" || header.encoding !== raw.id || header.bases.length > 0) return false;
  return header.payloadBytes === rawBytes && sameDigest(header.chunks[0]!.digest, digest);
}

/** Memory for one frame at a time, kept from one to the next. */
export class FrameBuffer {
  #bytes = new Uint8Array(0);

  take(sizeBytes: number): Uint8Array {
    if (this.#bytes.byteLength < sizeBytes) this.#bytes = new Uint8Array(roundUp(sizeBytes));
    return this.#bytes.subarray(0, sizeBytes);
  }
}

/** Frames differ a little in size: room for the next larger one. */
function roundUp(sizeBytes: number): number {
  return Math.ceil((sizeBytes * 1.25) / 65_536) * 65_536;
}

/** Reads frames by place; keeps the pack files it used last open. */
export class PackReader {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #open = new Map<bigint, DiskFile>();
  readonly #headerBytes = new Uint8Array(FRAME_HEADER_BYTES_MAX);

  constructor(disk: Disk, directory: string) {
    this.#disk = disk;
    this.#directory = directory;
  }

  /**
   * The frame at a place, checked. The payload is a view of `buffer`, valid until that is used again.
   * @throws `ERR_STORE_CORRUPT` naming file and offset; `ERR_NOT_FOUND` when there is no such pack (any more).
   */
  readFrame(packId: bigint, offset: number, frameBytes: number, buffer = new FrameBuffer()): Frame {
    const file = this.#file(packId);
    if (frameBytes > FRAME_HEADER_BYTES_MAX + PAYLOAD_BYTES_MAX) throw damaged(file.path, offset, "place");
    const bytes = buffer.take(frameBytes);
    const count = file.readSync(bytes, offset);
    const frame = decodeFrame(bytes.subarray(0, count), packId, offset);
    if (typeof frame === "string") throw damaged(file.path, offset, frame);
    return frame;
  }

  /**
   * Reads the frame of a chunk that is stored as it is straight into `target`, without a look at the payload's
   * checksum: the caller compares the chunk's digest. `false`, and `target` undefined, when the frame is another.
   */
  readStored(
    place: { packId: bigint; offset: number; frameBytes: number },
    digest: Uint8Array,
    target: Uint8Array,
  ): boolean {
    const payloadOffset = this.#storedPayload(place, digest, target.byteLength);
    if (payloadOffset === undefined) return false;
    return this.#file(place.packId).readSync(target, payloadOffset) === target.byteLength;
  }

  /**
   * Like `readStored` for frames that lie one behind the other, with one call by another thread: no target may be
   * touched until it resolves. `false` for those whose frames are others.
   */
  async readStoredRun({ packId, offset, chunks }: StoredRun): Promise<boolean[]> {
    const headerBytes = frameHeaderBytes(1, 0);
    const headers = new Uint8Array(headerBytes * chunks.length);
    const headerOf = (at: number) => headers.subarray(at * headerBytes, (at + 1) * headerBytes);
    const targets = chunks.flatMap(({ target }, at) => [headerOf(at), target]);
    let left = await this.#file(packId).readVector(targets, offset);
    let frameAt = offset;
    return chunks.map(({ digest, target }, at) => {
      const isRead = left >= headerBytes + target.byteLength;
      const found = isRead && isStoredFrame(headerOf(at), packId, frameAt, digest, target.byteLength);
      left -= headerBytes + target.byteLength;
      frameAt += headerBytes + target.byteLength;
      return found;
    });
  }

  /** Where the payload of a chunk that is stored as it is lies; `undefined` when the frame is another. */
  #storedPayload(
    place: { packId: bigint; offset: number; frameBytes: number },
    digest: Uint8Array,
    rawBytes: number,
  ): number | undefined {
    const headerBytes = frameHeaderBytes(1, 0);
    if (place.frameBytes !== headerBytes + rawBytes) return undefined;
    const bytes = this.#headerBytes.subarray(0, headerBytes);
    const count = this.#file(place.packId).readSync(bytes, place.offset);
    const isChunk = isStoredFrame(bytes.subarray(0, count), place.packId, place.offset, digest, rawBytes);
    return isChunk ? place.offset + headerBytes : undefined;
  }

  /** Fills `target` with what a pack has from `offset` on, unchecked; returns how much that was. */
  readRaw(packId: bigint, offset: number, target: Uint8Array): number {
    return this.#file(packId).readSync(target, offset);
  }

  /** The header of the frame at a place, checked; its payload is not read. */
  readHeader(packId: bigint, offset: number, frameBytes: number): FrameHeader {
    const file = this.#file(packId);
    const bytes = Buffer.allocUnsafeSlow(Math.min(frameBytes, FRAME_HEADER_BYTES_MAX));
    const header = decodeFrameHeader(bytes.subarray(0, file.readSync(bytes, offset)), packId, offset);
    if (typeof header === "string") throw damaged(file.path, offset, header);
    return header;
  }

  #file(packId: bigint): DiskFile {
    let file = this.#open.get(packId);
    if (file === undefined) {
      file = this.#disk.open(`${this.#directory}/${packFileName(packId)}`, { access: "read" });
      try {
        refuseNewer(readStart(file), packId);
      } catch (error) {
        file.close();
        throw error;
      }
      if (this.#open.size >= OPEN_PACKS_MAX) {
        const [oldest, oldestFile] = this.#open.entries().next().value!;
        this.#open.delete(oldest);
        oldestFile.close();
      }
    } else {
      this.#open.delete(packId);
    }
    this.#open.set(packId, file);
    return file;
  }

  close(): void {
    for (const file of this.#open.values()) file.close();
    this.#open.clear();
  }
}

function damaged(path: string, offset: number, damage: string): StoreError {
  return new StoreError(
    "ERR_STORE_CORRUPT",
    `${path}: the frame at offset ${offset} is damaged (${damage})`,
    {
      context: { path, offset, damage },
      hint: "Other versions still restore. Run `varve check --read-data` for what is affected, then `varve repair`.",
    },
  );
}
