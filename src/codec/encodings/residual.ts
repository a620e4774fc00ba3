import { CHUNK_BYTES_MAX, CHUNK_ELEMENTS } from "../../limits.ts";
import { corrupt } from "../corrupt.ts";
import type { Encoding, Workshop } from "../encoding.ts";
import { type Lane, laneOf } from "../lanes.ts";
import { lay } from "../regions.ts";

/**
 * Residuals against the parent, entropy-coded by tables for contexts: the exponent of the parent's weight and, with a
 * grandparent, what the last step did to the weight. docs/formats/encodings.md has tables, stream and raw bits.
 *
 *     flags u8         1: the second base is used   2: residuals of 0 have a token   4: unchanged groups are left out
 *                      8: residuals are counted in the same unit for every exponent
 *     threshold i8     how far below the largest exponent units begin to widen
 *     codedBytes u24   of tables and stream
 *     tables | stream | raw bits, the last byte filled with zeros | bytes of an incomplete last lane
 */
export const residual: Encoding = {
  id: 10,
  name: "residual",
  encode: (workshop, input) => {
    const parent = input.bases[0];
    const lane = laneOf(input.element);
    const count = Math.floor(input.bytes.length / lane.widthBytes);
    if (parent === undefined || count === 0 || count > MAX_LANES) return undefined;
    layBases(workshop, parent, input.bases[1], count * lane.widthBytes);
    lay(workshop.kernels.memory, workshop.kernels.at.input, input.bytes, count * lane.widthBytes);
    workshop.payloads.begin();
    const drift = writeResiduals(workshop, lane, count, input.bases.length > 1);
    const payload = workshop.payloads.put(input.bytes.subarray(count * lane.widthBytes)).finish();
    // Residuals of noise take more bits than the lanes have, and no decoder takes what is larger than its chunk.
    return payload.length < input.bytes.length ? { payload, basesUsed: drift ? 2 : 1 } : undefined;
  },
  decode: (workshop, { element, payload, bases }, target) => {
    const lane = laneOf(element);
    const count = Math.floor(target.length / lane.widthBytes);
    const lanesBytes = count * lane.widthBytes;
    if (count > MAX_LANES) throw corrupt("residual", `stands for ${count} elements, over ${MAX_LANES}`);
    const parent = bases[0];
    if (parent === undefined) throw corrupt("residual", "needs 1 bases, the frame names none");
    const tailBytes = target.length - lanesBytes;
    if (payload.length < HEADER_BYTES + tailBytes) throw corrupt("residual", "is shorter than its header");
    layBases(workshop, parent, bases[1], lanesBytes);
    const coded = payload.subarray(0, payload.length - tailBytes);
    const sizeBytes = readResiduals(
      workshop,
      { name: "residual", lane, count, hasDrift: bases.length > 1 },
      coded,
    );
    if (sizeBytes !== coded.length) throw corrupt("residual", "does not end with its raw bits");
    const { memory, at } = workshop.kernels;
    target.set(memory.subarray(at.output, at.output + lanesBytes));
    target.set(payload.subarray(coded.length), lanesBytes);
  },
};

/** A chunk of complex numbers has two lanes an element; the kernels' regions are made for this many. */
const MAX_LANES = CHUNK_ELEMENTS;
const HEADER_BYTES = 5;
const USES_DRIFT = 1;
const ZEROS = 2;
const MAPPED = 4;
const RELATIVE = 8;

/** With fewer groups unchanged than this the map costs more than it saves: contexts know most of it. */
const MAPPED_SHARE = 0.6;

/** Lanes looked at to choose threshold and flags. */
const SAMPLE_LANES = 2048;

/** Raw bytes of one lane, at most: 62 bits, and seven more where it is far. */
const RAW_BYTES_MAX = 9;

/** What the region of raw bits holds. */
const BITS_BYTES = CHUNK_BYTES_MAX + 1024;

const groups16 = (count: number) => Math.ceil(count / 16) * 16;

/** Lays both bases beside a chunk of `sizeBytes`, cut or continued with zeros to whole groups. */
function layBases(
  { kernels: { memory, at } }: Workshop,
  parent: Uint8Array,
  grandparent: Uint8Array | undefined,
  sizeBytes: number,
): void {
  lay(memory, at.base, parent, sizeBytes);
  if (grandparent !== undefined) lay(memory, at.base2, grandparent, sizeBytes);
}

interface Parameters {
  drift: boolean;
  zeros: boolean;
  mapped: boolean;
  relative: boolean;
  threshold: number;
}

function setup({ kernels: { exports } }: Workshop, lane: Lane, parameters: Parameters): void {
  const { drift, zeros, relative, threshold } = parameters;
  exports.residualSetup(Number(lane.float), lane.mantissaBits, lane.exponentMask, Number(drift));
  exports.coderSetup(threshold, Number(relative), Number(zeros), lane.widthBytes);
}

/**
 * Codes the `count` lanes in the input region against those in the base region, and in the second one where that
 * helps, onto the end of the payload; says whether the second one is needed. The regions are continued with zeros.
 */
export function writeResiduals(
  workshop: Workshop,
  lane: Lane,
  count: number,
  hasGrandparent: boolean,
): boolean {
  const { exports, memory, at } = workshop.kernels;
  const lanes = groups16(count);
  const chosen = choose(workshop, lane, lanes, hasGrandparent);
  setup(workshop, lane, chosen);
  exports.residualEncode(lanes, lane.widthBytes, Number(chosen.mapped));
  const stream = exports.encodedStream();
  const streamBytes = exports.encodedStreamBytes();
  const tables = exports.encodedTables();
  const tablesBytes = exports.encodedTablesBytes();
  const codedBytes = tablesBytes + streamBytes;
  const rawBytes = Math.ceil(exports.encodedRawBits() / 8);
  workshop.payloads
    .put([
      flagsOf(chosen),
      chosen.threshold & 255,
      codedBytes & 255,
      (codedBytes >> 8) & 255,
      codedBytes >> 16,
    ])
    .put(memory.subarray(tables, tables + tablesBytes))
    .put(memory.subarray(stream, stream + streamBytes))
    .put(memory.subarray(at.bits, at.bits + rawBytes));
  return chosen.drift;
}

function flagsOf({ drift, zeros, mapped, relative }: Parameters): number {
  return (drift ? USES_DRIFT : 0) | (zeros ? ZEROS : 0) | (mapped ? MAPPED : 0) | (relative ? RELATIVE : 0);
}

/** Tries parameters on a sample spread over the chunk: what is lost to the best of them is a fraction of a percent. */
function choose(workshop: Workshop, lane: Lane, lanes: number, hasGrandparent: boolean): Parameters {
  const { exports } = workshop.kernels;
  const { widthBytes } = lane;
  const start = { drift: false, zeros: false, mapped: false, relative: false, threshold: 0 };
  setup(workshop, lane, start);
  exports.residualExponent(lanes, widthBytes);
  const mapped = exports.mapChanged(lanes, widthBytes) < (lanes / 16) * (1 - MAPPED_SHARE);
  exports.sampleMark(lanes, widthBytes, Number(mapped), SAMPLE_LANES);
  exports.samplePrepare(lanes, widthBytes);
  const costOf = (parameters: Parameters) => {
    setup(workshop, lane, parameters);
    if (parameters.drift) exports.samplePrepare(lanes, widthBytes);
    return exports.sampleCost(widthBytes);
  };
  /** Walks from the threshold that nine of ten lanes suggest to where the cost is least. */
  const search = (relative: boolean) => {
    // A sample in which nothing changed suggests anything; the header holds what fits an i8.
    const suggested = exports.sampleThreshold(widthBytes, Number(relative));
    let threshold = Math.max(-THRESHOLD_MAX, Math.min(suggested, THRESHOLD_MAX));
    let parameters: Parameters = { ...start, mapped, relative, threshold };
    let cost = costOf(parameters);
    for (const step of [1, -1]) {
      const from = threshold;
      while (Math.abs(threshold + step) <= THRESHOLD_MAX) {
        const next = { ...parameters, threshold: threshold + step };
        const nextCost = costOf(next);
        if (nextCost >= cost) break;
        threshold += step;
        cost = nextCost;
        parameters = next;
      }
      if (threshold !== from) break;
    }
    return { cost, parameters };
  };
  let best = search(false);
  const consider = (parameters: Parameters) => {
    const cost = costOf(parameters);
    if (cost < best.cost) best = { cost, parameters };
  };
  if (widthBytes > 2 && lane.float) {
    const relative = search(true);
    if (relative.cost < best.cost) best = relative;
  }
  consider({ ...best.parameters, zeros: true });
  if (hasGrandparent) consider({ ...best.parameters, drift: true });
  return best.parameters;
}

/** Thresholds past this leave every shift as it is. */
const THRESHOLD_MAX = 100;

/** What a run of residuals stands for; `name` is the encoding they are part of. */
interface Residuals {
  name: string;
  lane: Lane;
  count: number;
  /** Whether the second base region holds anything. */
  hasDrift: boolean;
}

/**
 * Fills the output region from the residuals at the beginning of `payload` and the base regions; returns how many
 * bytes they took.
 * @throws StoreError ERR_STORE_CORRUPT for anything no encoder writes.
 */
export function readResiduals(
  workshop: Workshop,
  { name, lane, count, hasDrift }: Residuals,
  payload: Uint8Array,
): number {
  const { exports, memory, at } = workshop.kernels;
  if (payload.length < HEADER_BYTES) throw corrupt(name, "is shorter than its header");
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const flags = view.getUint8(0);
  if (flags > (USES_DRIFT | ZEROS | MAPPED | RELATIVE)) throw corrupt(name, `has unknown flags ${flags}`);
  const drift = (flags & USES_DRIFT) !== 0;
  if (drift && !hasDrift) throw corrupt(name, "needs 2 bases, the frame names 1");
  const codedBytes = view.getUint16(2, true) | (view.getUint8(4) << 16);
  const rest = payload.length - HEADER_BYTES - codedBytes;
  const rawBytesMax = groups16(count) * RAW_BYTES_MAX;
  if (rest < 0) throw corrupt(name, `has tables and a stream of ${codedBytes} bytes that do not fit`);
  // They go where the chunk lies when encoding; a decoder has no use for that region.
  const rawAt = HEADER_BYTES + codedBytes;
  memory.set(payload.subarray(HEADER_BYTES, rawAt), at.input);
  memory.set(payload.subarray(rawAt, rawAt + Math.min(rest, rawBytesMax, BITS_BYTES)), at.bits);
  const mapped = (flags & MAPPED) !== 0;
  const zeros = (flags & ZEROS) !== 0;
  const relative = (flags & RELATIVE) !== 0;
  setup(workshop, lane, { drift, zeros, mapped, relative, threshold: view.getInt8(1) });
  const lanes = groups16(count);
  exports.residualExponent(lanes, lane.widthBytes);
  const rawBits = exports.residualDecode(lanes, lane.widthBytes, Number(mapped), at.input, codedBytes);
  const rawBytes = Math.ceil(rawBits / 8);
  if (rawBits < 0 || rawBytes > Math.min(rest, rawBytesMax)) throw corrupt(name, "does not decode");
  return rawAt + rawBytes;
}
