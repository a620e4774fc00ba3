import type { Workshop } from "./encoding.ts";
import { readU24, u24 } from "./u24.ts";

/**
 * A plane in canonical Huffman codes (src/kernels/assembly/huffman.ts):
 *
 *     first u8 | last u8 | code lengths of the bytes from first to last, four bits each | stream bytes u24 × 4 | streams
 *
 * Three streams have a quarter of the plane each, rounded down, the last one what is left.
 */
const STREAMS = 4;

/** Appends the plane, whose codes the kernels have planned. */
export function writeHuffmanPlane({ kernels, payloads }: Workshop, plane: number, count: number): void {
  const { exports, memory, at } = kernels;
  const lengths = memory.subarray(exports.huffmanLengths(), exports.huffmanLengths() + 256);
  let first = 0;
  let last = 255;
  while (lengths[first] === 0) first++;
  while (lengths[last] === 0) last--;
  const header = new Uint8Array(2 + ((last - first + 2) >> 1) + 3 * STREAMS);
  header[0] = first;
  header[1] = last;
  for (let i = 0; i <= last - first; i++) header[2 + (i >> 1)]! |= lengths[first + i]! << (4 * (i & 1));
  exports.huffmanUse(0);
  const quarter = count >> 2;
  let end = at.output;
  for (let stream = 0; stream < STREAMS; stream++) {
    const from = stream * quarter;
    const start = end;
    end = exports.huffmanEncode(plane + from, stream === STREAMS - 1 ? count - from : quarter, start);
    header.set(u24(end - start), header.length - 3 * (STREAMS - stream));
  }
  payloads.put(header).put(memory.subarray(at.output, end));
}

/** Reads a plane of `count` bytes to an address; the bytes it took, or undefined for what no encoder writes. */
export function readHuffmanPlane(
  { kernels: { exports, memory, at } }: Workshop,
  payload: Uint8Array,
  plane: number,
  count: number,
): number | undefined {
  const first = payload[0] ?? 255;
  const last = payload[1] ?? 0;
  const sizesAt = 2 + ((last - first + 2) >> 1);
  const streamsAt = sizesAt + 3 * STREAMS;
  if (first > last || payload.length < streamsAt) return undefined;
  const lengths = memory.subarray(exports.huffmanLengths(), exports.huffmanLengths() + 256).fill(0);
  for (let i = 0; i <= last - first; i++) lengths[first + i] = (payload[2 + (i >> 1)]! >> (4 * (i & 1))) & 15;
  const [a, b, c, d] = [0, 3, 6, 9].map((i) => readU24(payload, sizesAt + i)) as [
    number,
    number,
    number,
    number,
  ];
  const sizeBytes = a + b + c + d;
  const streams = payload.subarray(streamsAt, streamsAt + sizeBytes);
  if (sizeBytes > count || streams.length !== sizeBytes || !exports.huffmanUse(1)) return undefined;
  memory.set(streams, at.bits);
  if (!exports.huffmanDecode(plane, count, at.bits, a, b, c, sizeBytes)) return undefined;
  return streamsAt + sizeBytes;
}
