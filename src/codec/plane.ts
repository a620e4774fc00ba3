import type { Profile, Workshop } from "./encoding.ts";
import { entropyBits, frequenciesOf, readFrequencies, writeFrequencies } from "./frequencies.ts";
import { readHuffmanPlane, writeHuffmanPlane } from "./huffman-plane.ts";
import { readU24, u24 } from "./u24.ts";

/**
 * One byte plane of a known length:
 *
 *     0 | the bytes as they are
 *     1 | streamBytes u24 | frequencies (see frequencies.ts) | rANS stream
 *     2 | value u8 | gaps u24 | others u24 | gaps, u8 each | other bytes
 *
 *     3 | parts u8 | a plane of another mode for each part
 *     4 | Huffman codes, see huffman-plane.ts
 *
 * Mode 2 is for planes that are nearly one value: a gap is how many of it come before the next other byte, 255 that
 * 255 of them come and then the next gap. Mode 3 is for planes whose statistics change on the way, as where small
 * tensors of different kinds share a chunk: every part has ceil(length / parts) bytes, the last what is left. Mode 4 is
 * what the fast profile takes for mode 1: up to 2 % larger, coded in a third of the time.
 */
const RAW = 0;
const CODED = 1;
const SPARSE = 2;
const SPLIT = 3;
const HUFFMAN = 4;

/** A coded plane must save this share: below it decoding costs more than the bytes are worth. */
const SAVES_MIN = { fast: 0.04, compact: 0.005 };
/** Other bytes than the most frequent one, as a share, up to which a plane is sparse: larger, but sooner decoded. */
const SPARSE_SHARE_MAX = { fast: 0.1, compact: 0.03 };

/** Parts a plane may be split into: most of them, and as many fewer as join so many of those. */
const PARTS_MAX = 16;
const JOINED = 4;
/** Planes shorter than this are not split: each part pays for its own frequencies. */
const SPLIT_BYTES_MIN = 4096;
/** What a part's mode, sizes and frequencies take, about. */
const PART_BITS = 64 * 8;

/** Codes the plane of `count` bytes at an address, onto the end of the payload. */
export function writePlane(workshop: Workshop, plane: number, count: number, profile: Profile): void {
  const { parts, counts } = profile === "compact" ? partsFor(workshop, plane, count) : ONE_PART;
  if (parts === 1) {
    writePart(workshop, { plane, count, counts }, profile);
    return;
  }
  workshop.payloads.put([SPLIT, parts]);
  for (const { from, size } of partsOf(count, parts)) {
    writePart(workshop, { plane: plane + from, count: size, counts: undefined }, profile);
  }
}

/** What is known of a plane before it is coded. */
interface Split {
  parts: number;
  /** How often each byte occurs in the whole plane, if that was counted. */
  counts: Uint32Array | undefined;
}

const ONE_PART: Split = { parts: 1, counts: undefined };

function* partsOf(count: number, parts: number): Iterable<{ from: number; size: number }> {
  const size = Math.ceil(count / parts);
  for (let from = 0; from < count; from += size) yield { from, size: Math.min(size, count - from) };
}

/** How many parts are least, judged by their entropy: 1 unless splitting gains for certain. The plane is read once. */
function partsFor(workshop: Workshop, plane: number, count: number): Split {
  if (count < SPLIT_BYTES_MIN) return ONE_PART;
  const all = new Uint32Array(256);
  const joined = new Uint32Array(256);
  let mostBits = PARTS_MAX * PART_BITS;
  let fewerBits = (PARTS_MAX / JOINED) * PART_BITS;
  let joinedBytes = 0;
  let part = 0;
  for (const { from, size } of partsOf(count, PARTS_MAX)) {
    const counts = countsOf(workshop, plane + from, size);
    mostBits += Math.min(size * 8, entropyBits(counts, size));
    for (let byte = 0; byte < 256; byte++) joined[byte]! += counts[byte]!;
    joinedBytes += size;
    part++;
    if (part % JOINED !== 0 && from + size < count) continue;
    fewerBits += Math.min(joinedBytes * 8, entropyBits(joined, joinedBytes));
    for (let byte = 0; byte < 256; byte++) all[byte]! += joined[byte]!;
    joined.fill(0);
    joinedBytes = 0;
  }
  const oneBits = Math.min(count * 8, entropyBits(all, count));
  if (oneBits <= Math.min(mostBits, fewerBits)) return { parts: 1, counts: all };
  return { parts: mostBits <= fewerBits ? PARTS_MAX : PARTS_MAX / JOINED, counts: undefined };
}

function countsOf({ kernels: { exports, memory } }: Workshop, plane: number, count: number): Uint32Array {
  return new Uint32Array(memory.buffer, exports.histogram(plane, count), 256);
}

interface Part {
  plane: number;
  count: number;
  counts: Uint32Array | undefined;
}

function writePart(workshop: Workshop, { plane, count, counts: known }: Part, profile: Profile): void {
  const { exports, memory, at } = workshop.kernels;
  const { payloads } = workshop;
  const raw = () => payloads.put([RAW]).put(memory.subarray(plane, plane + count));
  if (count === 0) {
    raw();
    return;
  }
  if (profile === "fast" && count >= PROBED_BYTES_MIN && looksRandom(workshop, plane, count)) {
    raw();
    return;
  }
  const counts = known ?? countsOf(workshop, plane, count);
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
  const worthBits = count * 8 * (1 - SAVES_MIN[profile]);
  if (profile === "fast") {
    if (exports.huffmanPlan(exports.frequencyTable()) > worthBits) raw();
    else {
      payloads.put([HUFFMAN]);
      writeHuffmanPlane(workshop, plane, count);
    }
    return;
  }
  if (entropyBits(counts, count) > worthBits) {
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

/** Planes from this size on are judged by a part of them first, where speed counts. */
const PROBED_BYTES_MIN = 32_768;
/** The share of a plane that is looked at. */
const PROBED = 1 / 8;

/** Whether the middle of a plane saves too little: mantissas do, and counting all of them is for nothing. */
function looksRandom(workshop: Workshop, plane: number, count: number): boolean {
  const size = Math.floor(count * PROBED);
  const counts = countsOf(workshop, plane + ((count - size) >> 1), size);
  return entropyBits(counts, size) > size * 8 * (1 - SAVES_MIN.fast);
}

/** Reads a plane of `count` bytes to an address; the bytes it took, or undefined for what no encoder writes. */
export function readPlane(
  workshop: Workshop,
  payload: Uint8Array,
  plane: number,
  count: number,
): number | undefined {
  if (payload[0] !== SPLIT) return readPart(workshop, payload, plane, count);
  const parts = payload[1] ?? 0;
  if (parts < 2 || parts > count) return undefined;
  let read = 2;
  for (const { from, size } of partsOf(count, parts)) {
    const partBytes = readPart(workshop, payload.subarray(read), plane + from, size);
    if (partBytes === undefined) return undefined;
    read += partBytes;
  }
  return read;
}

function readPart(workshop: Workshop, payload: Uint8Array, plane: number, count: number): number | undefined {
  const { exports, memory, at } = workshop.kernels;
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
  if (mode === HUFFMAN) {
    const sizeBytes = readHuffmanPlane(workshop, payload.subarray(1), plane, count);
    return sizeBytes === undefined ? undefined : 1 + sizeBytes;
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
