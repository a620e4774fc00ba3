/**
 * Packs: append-only files of frames. `docs/formats/pack.md` has the same layout with a worked example.
 *
 *     pack   = header (frame+ padding)* seal?
 *
 * Padding is zeros up to the next multiple of 512: what one save appended ends its last sector, so that a power cut
 * while the next one writes cannot touch it.
 *
 *     header (64 bytes)
 *       0  8  magic "VARVEPK1"
 *       8  2  format version (1)
 *      10  6  zero
 *      16 16  store id
 *      32  8  pack id (also the file's name, in hexadecimal)
 *      40  8  created, microseconds since the Unix epoch
 *      48 12  zero
 *      60  4  CRC-32C of bytes 0..59
 *
 *     frame  = fixed chunk{chunkCount} base{baseCount} table{tableCount} payload
 *     fixed (24 bytes)
 *       0  4  magic "FRM1"
 *       4  4  CRC-32C of the frame's header from byte 8 on, seeded with the frame's place
 *       8  4  CRC-32C of the payload
 *      12  4  payload size in bytes
 *      16  1  encoding of the payload (docs/formats/encodings.md)
 *      17  1  element type
 *      18  1  chunkCount: 1..255
 *      19  1  baseCount: 0..8
 *      20  1  tableCount: 0 in format 1
 *      21  1  depth: 0 without bases, else 1 + the deepest base's
 *      22  2  restore cost of the whole chain, in KiB, rounded up, at most 65,535
 *     chunk (36 bytes)
 *       0 32  BLAKE3-256 of the chunk's raw bytes
 *      32  4  raw size in bytes
 *     base, table (16 bytes): the first 16 bytes of the digest of the chunk that decoding needs
 *
 *     seal (24 bytes): nothing is appended after it
 *       0  4  magic "SEAL"
 *       4  4  CRC-32C from byte 8 on, seeded with the seal's place
 *       8  8  offset of the seal = bytes of the pack before it
 *      16  8  frames in the pack
 *
 * A payload decodes to the raw bytes of the frame's chunks, one after the other. Integers are little-endian. The
 * seed of a place is the CRC-32C of the pack id and the offset: a frame that a disk wrote or returned from the
 * wrong place does not verify.
 */
import { crc32c } from "@node-rs/crc32";
import { DIGEST_BYTES, SHORT_DIGEST_BYTES } from "./digest.ts";

export const PACK_FORMAT_VERSION = 1;
export const PACK_MAGIC = Buffer.from("VARVEPK1", "latin1");
export const PACK_HEADER_BYTES = 64;
export const FRAME_MAGIC = 0x314d5246; // "FRM1"
export const FRAME_FIXED_BYTES = 24;
export const FRAME_CHUNK_BYTES = DIGEST_BYTES + 4;
/** The largest restore cost that is written; a chain that costs more is not made longer. */
export const FRAME_COST_KIB_MAX = 0xffff;
export const SEAL_MAGIC = 0x4c414553; // "SEAL"
export const SEAL_BYTES = 24;

export interface FrameChunk {
  digest: Uint8Array;
  rawBytes: number;
}

export interface FrameHeader {
  encoding: number;
  /** Element type code (src/codec/element.ts). */
  element: number;
  chunks: FrameChunk[];
  /** Short digests of the chunks that decoding needs, in the order the encoding expects. */
  bases: Uint8Array[];
  depth: number;
  costKiB: number;
  payloadBytes: number;
  payloadCrc: number;
}

/** Bytes of a frame before its payload. */
export function frameHeaderBytes(chunkCount: number, nameCount: number): number {
  return FRAME_FIXED_BYTES + chunkCount * FRAME_CHUNK_BYTES + nameCount * SHORT_DIGEST_BYTES;
}

/** How deep a written frame's chain is, */
export function depthOfFrame(frame: Uint8Array): number {
  return frame[21]!;
}

/** and what restoring it costs, in KiB. */
export function costOfFrame(frame: Uint8Array): number {
  return frame[22]! | (frame[23]! << 8);
}

/** Written again for every frame: one a thread. */
const placeBytes = Buffer.alloc(16);
const placeWords = new DataView(placeBytes.buffer, placeBytes.byteOffset, 16);

/** What a checksum of something at `offset` of pack `packId` starts from. */
export function placeSeed(packId: bigint, offset: number): number {
  placeWords.setBigUint64(0, packId, true);
  placeWords.setUint32(8, offset % 2 ** 32, true);
  placeWords.setUint32(12, Math.floor(offset / 2 ** 32), true);
  return crc32c(placeBytes);
}

export function packFileName(packId: bigint): string {
  return `${packId.toString(16).padStart(16, "0")}.pack`;
}

/** The pack's id, or `undefined` when the file is no pack. */
export function packIdOfFileName(name: string): bigint | undefined {
  return /^[0-9a-f]{16}\.pack$/.test(name) ? BigInt(`0x${name.slice(0, 16)}`) : undefined;
}
