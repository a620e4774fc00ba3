import { CHUNK_ELEMENTS } from "../../limits.ts";
import { corrupt } from "../corrupt.ts";
import type { Candidate, DecodeInput, EncodeInput, Encoding, Workshop } from "../encoding.ts";
import { type Lane, laneOf } from "../lanes.ts";

/**
 * Residuals against the parent, entropy-coded by adaptive models whose context is the exponent of the parent's weight
 * and, with a grandparent, what the last step did to the weight. docs/formats/encodings.md has the stream.
 *
 *     flags u8     1: the second base is used   2: leading bits are modelled   4: unchanged groups are left out
 *     scale i16    for lanes of four and eight bytes only
 *     streamBytes u24
 *     stream | raw bits, the last byte filled with zeros | bytes of an incomplete last lane
 */
export const residual: Encoding = {
  id: 6,
  name: "residual",
  encode: (workshop, input) => {
    const parent = input.bases[0];
    const lane = laneOf(input.element);
    const count = Math.floor(input.bytes.length / lane.widthBytes);
    if (parent === undefined || count === 0 || count > MAX_LANES) return undefined;
    layOut(workshop, parent, input.bases[1], count, lane);
    layChunk(workshop, input.bytes, count * lane.widthBytes);
    return assemble(workshop, input, lane, count);
  },
  decode: (workshop, input, target) => {
    const lane = laneOf(input.element);
    const count = Math.floor(target.length / lane.widthBytes);
    if (count > MAX_LANES) throw corrupt("residual", `stands for ${count} elements, over ${MAX_LANES}`);
    decodeLanes(workshop, input, lane, count, target);
  },
};

/** A chunk of complex numbers has two lanes an element; the kernels' regions are made for this many. */
const MAX_LANES = CHUNK_ELEMENTS;
const USES_DRIFT = 1;
const LEADING = 2;
const MAPPED = 4;

/** With fewer groups unchanged than this the map costs more than it saves: contexts know most of it. */
const MAPPED_SHARE = 0.6;

const groups16 = (count: number) => Math.ceil(count / 16) * 16;

/** Lays both bases beside a chunk of `count` lanes, cut or continued with zeros to whole groups. */
function layOut(
  workshop: Workshop,
  parent: Uint8Array,
  grandparent: Uint8Array | undefined,
  count: number,
  { widthBytes }: Lane,
): void {
  const { memory, at } = workshop.kernels;
  const sizeBytes = count * widthBytes;
  const paddedBytes = groups16(count) * widthBytes;
  lay(memory, at.base, parent, sizeBytes, paddedBytes);
  if (grandparent !== undefined) lay(memory, at.base2, grandparent, sizeBytes, paddedBytes);
}

function lay(
  memory: Uint8Array,
  at: number,
  bytes: Uint8Array,
  sizeBytes: number,
  paddedBytes: number,
): void {
  const kept = Math.min(bytes.length, sizeBytes);
  memory.set(bytes.subarray(0, kept), at);
  memory.fill(0, at + kept, at + paddedBytes);
}

function layChunk({ kernels: { memory, at } }: Workshop, bytes: Uint8Array, sizeBytes: number): void {
  memory.set(bytes.subarray(0, sizeBytes), at.input);
  memory.fill(0, at.input + sizeBytes, at.input + sizeBytes + 128);
}

function setup({ kernels: { exports } }: Workshop, lane: Lane, drift: boolean, scale: number): void {
  exports.residualSetup(Number(lane.float), lane.mantissaBits, lane.exponentMask, Number(drift), scale);
}

/** Chooses the flags, codes what lies in the input region and puts the payload together. */
function assemble(workshop: Workshop, input: EncodeInput, lane: Lane, count: number): Candidate {
  const { exports, memory, at } = workshop.kernels;
  const lanes = groups16(count);
  const wide = lane.widthBytes > 2;
  setup(workshop, lane, false, 0);
  exports.residualExponent(lanes, lane.widthBytes);
  const scale = wide ? exports.wideScale(lanes, lane.widthBytes) : 0;
  const same = exports.residualSameGroups(lanes, lane.widthBytes);
  const mapped = same > (lanes / 16) * MAPPED_SHARE;
  const { drift, leading } = choose(workshop, input, lane, lanes, scale);
  setup(workshop, lane, drift, scale);
  exports.residualEncode(lanes, lane.widthBytes, Number(mapped), Number(leading));
  const stream = exports.encodedStream();
  const streamBytes = exports.encodedStreamBytes();
  const rawBytes = Math.ceil(exports.encodedRawBits() / 8);
  const tail = input.bytes.subarray(count * lane.widthBytes);
  const headerBytes = wide ? 6 : 4;
  const payload = new Uint8Array(headerBytes + streamBytes + rawBytes + tail.length);
  payload[0] = (drift ? USES_DRIFT : 0) | (leading ? LEADING : 0) | (mapped ? MAPPED : 0);
  const sizeAt = wide ? 3 : 1;
  if (wide) new DataView(payload.buffer).setInt16(1, scale, true);
  payload[sizeAt] = streamBytes & 255;
  payload[sizeAt + 1] = (streamBytes >> 8) & 255;
  payload[sizeAt + 2] = streamBytes >> 16;
  payload.set(memory.subarray(stream, stream + streamBytes), headerBytes);
  payload.set(memory.subarray(at.bits, at.bits + rawBytes), headerBytes + streamBytes);
  payload.set(tail, headerBytes + streamBytes + rawBytes);
  return { payload, basesUsed: drift ? 2 : 1 };
}

function choose(workshop: Workshop, input: EncodeInput, lane: Lane, lanes: number, scale: number) {
  const hasGrandparent = input.bases.length > 1;
  if (lane.widthBytes !== 2) return { drift: hasGrandparent, leading: lane.widthBytes > 2 };
  const { exports } = workshop.kernels;
  const sample = Math.min(lanes, 16384);
  const costOf = (drift: boolean, leading: boolean) => {
    setup(workshop, lane, drift, scale);
    return exports.narrowCost(sample, Number(leading));
  };
  const drift = hasGrandparent && costOf(true, false) < costOf(false, false);
  return { drift, leading: costOf(drift, true) < costOf(drift, false) };
}

function decodeLanes(
  workshop: Workshop,
  { payload, bases }: DecodeInput,
  lane: Lane,
  count: number,
  target: Uint8Array,
): void {
  const { exports, memory, at } = workshop.kernels;
  const wide = lane.widthBytes > 2;
  const headerBytes = wide ? 6 : 4;
  const tailBytes = target.length - count * lane.widthBytes;
  if (payload.length < headerBytes + tailBytes) throw corrupt("residual", "is shorter than its header");
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const flags = view.getUint8(0);
  if (flags > (USES_DRIFT | LEADING | MAPPED)) throw corrupt("residual", `has unknown flags ${flags}`);
  const drift = (flags & USES_DRIFT) !== 0;
  if (bases[0] === undefined || (drift && bases[1] === undefined)) {
    throw corrupt("residual", `needs ${drift ? 2 : 1} bases, the frame names ${bases.length}`);
  }
  const scale = wide ? view.getInt16(1, true) : 0;
  const sizeAt = wide ? 3 : 1;
  const streamBytes = view.getUint16(sizeAt, true) | (view.getUint8(sizeAt + 2) << 16);
  const rawBytes = payload.length - headerBytes - streamBytes - tailBytes;
  if (streamBytes < 16 || rawBytes < 0 || rawBytes > count * 8) {
    throw corrupt("residual", `has a stream of ${streamBytes} bytes that does not fit`);
  }
  layOut(workshop, bases[0], drift ? bases[1] : undefined, count, lane);
  // The stream goes where the chunk lies when encoding; a decoder has no use for that region.
  memory.set(payload.subarray(headerBytes, headerBytes + streamBytes), at.input);
  memory.set(payload.subarray(headerBytes + streamBytes, payload.length - tailBytes), at.bits);
  setup(workshop, lane, drift, scale);
  const lanes = groups16(count);
  exports.residualExponent(lanes, lane.widthBytes);
  const rawBits = exports.residualDecode(
    lanes,
    lane.widthBytes,
    flags & MAPPED,
    flags & LEADING,
    at.input,
    streamBytes,
  );
  if (rawBits < 0 || Math.ceil(rawBits / 8) !== rawBytes) throw corrupt("residual", "does not decode");
  target.set(memory.subarray(at.output, at.output + count * lane.widthBytes));
  target.set(payload.subarray(payload.length - tailBytes), count * lane.widthBytes);
}
