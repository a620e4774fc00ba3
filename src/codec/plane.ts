import type { Profile, Workshop } from "./encoding.ts";
import { entropyBits, frequenciesOf, readFrequencies, writeFrequencies } from "./frequencies.ts";

/**
 * One byte plane of a known length:
 *
 *     0 | the bytes as they are
 *     1 | streamBytes u24 | frequencies (see frequencies.ts) | rANS stream
 *     2 | value u8 | gaps u24 | others u24 | gaps, u8 each | other bytes
 *
 * Mode 2 is for planes that are nearly one value: a gap is how many of it come before the next other byte, 255 that
 * 255 of them come and then the next gap.
 */
const RAW = 0;
const CODED = 1;
const SPARSE = 2;

/** A coded plane must save this share: below it decoding costs more than the bytes are worth. */
const SAVES_MIN = { fast: 0.04, compact: 0.005 };
/** Other bytes than the most frequent one, as a share, up to which a plane is sparse: larger, but sooner decoded. */
const SPARSE_SHARE_MAX = { fast: 0.1, compact: 0.03 };

/** Codes the plane of `count` bytes at an address, onto the end of the payload. */
export function writePlane(
  { kernels: { exports, memory, at }, payloads }: Workshop,
  plane: number,
  count: number,
  profile: Profile,
): void {
  const raw = () => payloads.put([RAW]).put(memory.subarray(plane, plane + count));
  if (count === 0) {
    raw();
    return;
  }
  const table = exports.histogram(plane, count);
  const counts = new Uint32Array(memory.buffer, table, 256).slice();
  let most = 0;
  for (let byte = 1; byte < 256; byte++) if (counts[byte]! > counts[most]!) most = byte;
  const others = count - counts[most]!;
  if (others <= count * SPARSE_SHARE_MAX[profile]) {
    const gaps = exports.sparseList(plane, count, most, at.output);
    payloads.put([SPARSE, most, ...u24(gaps), ...u24(others)]);
    payloads
      .put(memory.subarray(at.bits, at.bits + gaps))
      .put(memory.subarray(at.output, at.output + others));
    return;
  }
  if (entropyBits(counts, count) > count * 8 * (1 - SAVES_MIN[profile])) {
    raw();
    return;
  }
  const frequencies = frequenciesOf(counts, count);
  new Uint16Array(memory.buffer, exports.frequencyTable(), 256).set(frequencies);
  exports.useFrequencies(0);
  const stream = exports.bytesEncode(plane, count);
  const streamBytes = exports.streamEnd() - stream;
  const written = writeFrequencies(frequencies);
  if (4 + written.length + streamBytes > count) raw();
  else
    payloads
      .put([CODED, ...u24(streamBytes)])
      .put(written)
      .put(memory.subarray(stream, stream + streamBytes));
}

/** Reads a plane of `count` bytes to an address; the bytes it took, or undefined for what no encoder writes. */
export function readPlane(
  { kernels: { exports, memory, at } }: Workshop,
  payload: Uint8Array,
  plane: number,
  count: number,
): number | undefined {
  const mode = payload[0];
  if (mode === RAW) {
    if (payload.length < 1 + count) return undefined;
    memory.set(payload.subarray(1, 1 + count), plane);
    return 1 + count;
  }
  if (mode === CODED && payload.length >= 4) {
    const streamBytes = readU24(payload, 1);
    const table = readFrequencies(payload.subarray(4));
    if (table === undefined || streamBytes > count) return undefined;
    const stream = payload.subarray(4 + table.sizeBytes, 4 + table.sizeBytes + streamBytes);
    if (stream.length !== streamBytes) return undefined;
    new Uint16Array(memory.buffer, exports.frequencyTable(), 256).set(table.frequencies);
    memory.set(stream, at.bits);
    if (!exports.useFrequencies(1) || !exports.bytesDecode(plane, count, streamBytes)) return undefined;
    return 4 + table.sizeBytes + streamBytes;
  }
  if (mode === SPARSE && payload.length >= 8) {
    const gaps = readU24(payload, 2);
    const others = readU24(payload, 5);
    const listed = payload.subarray(8, 8 + gaps + others);
    if (gaps + others > count || listed.length !== gaps + others) return undefined;
    memory.set(listed, at.bits);
    return exports.sparseFill(plane, count, payload[1]!, gaps, others) ? 8 + gaps + others : undefined;
  }
  return undefined;
}

const u24 = (value: number) => [value & 255, (value >> 8) & 255, value >> 16] as const;

const readU24 = (bytes: Uint8Array, at: number) =>
  bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16);
