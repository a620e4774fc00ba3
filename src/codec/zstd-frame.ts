import { CHUNK_BYTES_MAX } from "../limits.ts";

/**
 * Checks, without decoding, that a payload is one zstd frame (RFC 8878) that cannot regenerate much more than
 * `expectedBytes`: a frame of RLE blocks may otherwise grow a megabyte into gigabytes.
 *
 *     magic 4 | descriptor 1 | window 0-1 | dictionary id 0-4 | content size 0-8 | blocks… | checksum 0-4
 *     block: u24 = last 1 bit, type 2 bits, size 21 bits; then `size` bytes (1 for RLE)
 */
export function boundZstdOutput(payload: Uint8Array, expectedBytes: number): boolean {
  const start = headerEnd(payload, expectedBytes);
  if (start === undefined) return false;
  const hasChecksum = (payload[4]! & 4) !== 0;
  let at = start;
  let knownBytes = 0;
  let compressedBlocks = 0;
  for (;;) {
    if (at + 3 > payload.length) return false;
    const header = payload[at]! | (payload[at + 1]! << 8) | (payload[at + 2]! << 16);
    const type = (header >> 1) & 3;
    const sizeBytes = header >> 3;
    at += 3 + (type === 1 ? 1 : sizeBytes);
    if (type === 3 || at > payload.length) return false;
    if (type === 2) compressedBlocks++;
    else knownBytes += sizeBytes;
    if (knownBytes > expectedBytes) return false;
    if (header & 1) break;
  }
  // An encoder splits blocks where it likes, but a block regenerates 128 KiB at most: this bounds the worst case.
  if (compressedBlocks > BLOCKS_MAX) return false;
  return at + (hasChecksum ? 4 : 0) === payload.length;
}

/** Compressed blocks of one frame: twenty times what an encoder makes of the largest chunk. */
const BLOCKS_MAX = (CHUNK_BYTES_MAX / (128 * 1024)) * 20;

/** Offset of the first block, or undefined if the header is none, or promises another size. */
function headerEnd(payload: Uint8Array, expectedBytes: number): number | undefined {
  if (payload.length < 6) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  if (view.getUint32(0, true) !== 0xfd2fb528) return undefined;
  const descriptor = payload[4]!;
  const singleSegment = (descriptor & 32) !== 0;
  // Dictionaries are never used, and the reserved bit must be zero.
  if ((descriptor & 3) !== 0 || (descriptor & 8) !== 0) return undefined;
  let at = 5;
  if (!singleSegment) {
    // The window must not make the decoder allocate more than the largest chunk needs: 2 MiB, from 1 << (10 + exponent).
    if (payload[at]! >> 3 > 11) return undefined;
    at += 1;
  }
  const sizeClass = descriptor >> 6;
  const sizeFieldBytes = sizeClass === 0 ? (singleSegment ? 1 : 0) : 1 << sizeClass;
  if (at + sizeFieldBytes > payload.length) return undefined;
  if (sizeFieldBytes > 0) {
    const contentBytes =
      sizeFieldBytes === 1
        ? BigInt(view.getUint8(at))
        : sizeFieldBytes === 2
          ? BigInt(view.getUint16(at, true)) + 256n
          : sizeFieldBytes === 4
            ? BigInt(view.getUint32(at, true))
            : view.getBigUint64(at, true);
    if (contentBytes !== BigInt(expectedBytes)) return undefined;
  }
  return at + sizeFieldBytes;
}
