import type { Kernels } from "../../kernels/kernels.ts";
import { corrupt } from "../corrupt.ts";
import type { Encoding } from "../encoding.ts";
import { type Lane, laneOf } from "../lanes.ts";
import { readPlane, writePlane } from "../plane.ts";
import { lay } from "../regions.ts";
import { readU24, u24 } from "../u24.ts";

const NAME = "packed-difference";
/** Up to the plane of what changed. */
const HEADER_BYTES = 14;
const LEVELS = 16;
const WIDTH_MAX = 14;
const MAPPED = 128;

/**
 * Zigzag differences from the parent, in order-preserving integers, packed without entropy coding: how many bits a lane
 * has follows from the parent's exponent, so that lanes are found, and taken out, many at a time. What is longer is
 * patched.
 *
 *     low u8, 128 if mapped | top exponent u16 | widths by level, 16 nibbles | gap bytes u24
 *     mapped: a plane of one bit a lane | low byte planes | bits | gaps u8 | highs u8 | lanes | tail
 */
export const packedDifference: Encoding = {
  id: 13,
  name: NAME,
  encode: (workshop, { bytes, element, bases, profile }) => {
    const base = bases[0];
    if (base === undefined) return undefined;
    const lane = laneOf(element);
    const { widthBytes } = lane;
    const { payloads, kernels } = workshop;
    const { memory, at, exports } = kernels;
    const { count, lanesBytes } = lanesOf(bytes.length, lane);
    if (count === 0) return undefined;
    lay(memory, at.input, bytes, lanesBytes);
    lay(memory, at.base, base, lanesBytes);
    exports.packedSetup(Number(lane.float), lane.mantissaBits, lane.exponentMask);
    exports.differ(count * widthBytes, widthBytes, Number(lane.float));
    exports.packedPlan(count, widthBytes);
    if (profile === "fast" && exports.packedUnchanged() > unchangedShareMax(lane)) return undefined;
    const low = exports.packedLowBytes();
    const mapped = exports.packedMapped();
    if (inPlanes(lane, low)) exports.splitPlanes(at.output, at.work, count, widthBytes);
    const bits = exports.packedWrite(count, widthBytes, low, mapped);
    if (bits < 0) return undefined;
    const widths = memory.subarray(exports.packedWidths(), exports.packedWidths() + LEVELS);
    const top = exports.packedTop();
    const gapBytes = exports.packedGapBytes();
    payloads
      .begin()
      .put([low | (mapped * MAPPED), top & 255, top >> 8])
      .put(Array.from({ length: LEVELS / 2 }, (_, i) => widths[2 * i]! | (widths[2 * i + 1]! << 4)))
      .put(u24(gapBytes));
    if (mapped) writePlane(workshop, exports.packedChanged(), count >> 3, profile);
    const region = (address: number, sizeBytes: number) =>
      payloads.put(memory.subarray(address, address + sizeBytes));
    region(at.work, low * count);
    region(exports.packedBits(), Math.ceil(bits / 8));
    region(exports.packedGaps(), gapBytes);
    region(exports.packedHighs(), exports.packedHighBytes());
    region(exports.packedLanes(), exports.packedLaneBytes());
    const payload = payloads.put(bytes.subarray(lanesBytes)).finish();
    return payload.length < bytes.length ? { payload, basesUsed: 1 } : undefined;
  },
  decode: (workshop, { payload, element, bases }, target) => {
    const base = bases[0];
    if (base === undefined) throw corrupt(NAME, "needs a base, the frame names none");
    const lane = laneOf(element);
    const { widthBytes } = lane;
    const { memory, at, exports } = workshop.kernels;
    const { count, lanesBytes } = lanesOf(target.length, lane);
    const { low, mapped, gapBytes } = readHeader(workshop.kernels, lane, payload);
    let read = HEADER_BYTES;
    if (mapped) {
      const sizeBytes = readPlane(workshop, payload.subarray(read), exports.packedChanged(), count >> 3);
      if (sizeBytes === undefined) throw corrupt(NAME, "has a map that does not decode");
      read += sizeBytes;
    }
    const tailBytes = target.length - lanesBytes;
    const end = payload.length - tailBytes;
    const lowAt = read;
    read += low * count;
    if (read + gapBytes > end) throw corrupt(NAME, "ends within its lanes");
    memory.set(payload.subarray(lowAt, read), at.work);
    memory.set(payload.subarray(read, end), at.bits);
    lay(memory, at.base, base, lanesBytes);
    const bits = exports.packedRead(count, widthBytes, low, mapped, at.bits, end - read);
    if (bits < 0) throw corrupt(NAME, "ends within its bits");
    // What follows the bits, at their end.
    const gaps = at.bits + Math.ceil(bits / 8);
    read += Math.ceil(bits / 8) + gapBytes;
    if (read > end) throw corrupt(NAME, "ends within its gaps");
    const patches = exports.packedCountPatches(gaps, gapBytes);
    read += patches;
    if (read > end) throw corrupt(NAME, "ends within its patches");
    read += exports.packedCountLanes(gaps + gapBytes, patches) * widthBytes;
    if (read !== end) throw corrupt(NAME, "does not end with its last lane");
    if (inPlanes(lane, low)) joinPlanes(workshop.kernels, lane, count, low);
    if (!exports.packedPatch(count, widthBytes, low, gaps, gapBytes, patches)) {
      throw corrupt(NAME, "patches what is past its last lane");
    }
    target.set(memory.subarray(at.output, at.output + lanesBytes));
    target.set(payload.subarray(end), lanesBytes);
  },
};

/** Lanes, continued to whole groups of 16, and the bytes of those that are there. */
function lanesOf(sizeBytes: number, { widthBytes }: Lane): { count: number; lanesBytes: number } {
  const lanes = Math.floor(sizeBytes / widthBytes);
  return { count: Math.ceil(lanes / 16) * 16, lanesBytes: lanes * widthBytes };
}

/** Lanes of two bytes are packed as they lie; those of others, and what has low bytes apart, by way of byte planes. */
const inPlanes = ({ widthBytes }: Lane, low: number) => widthBytes !== 2 || low > 0;

/** Reads what says how lanes are packed, and sets the kernels up for it. */
function readHeader(
  { memory, exports }: Kernels,
  lane: Lane,
  payload: Uint8Array,
): { low: number; mapped: number; gapBytes: number } {
  if (payload.length < HEADER_BYTES) throw corrupt(NAME, "ends within its header");
  const low = payload[0]! & ~MAPPED;
  const mapped = payload[0]! >> 7;
  if (low >= lane.widthBytes || (mapped === 1 && low > 0)) {
    throw corrupt(NAME, `has ${low} low bytes${mapped ? " and a map" : ""}`);
  }
  const top = payload[1]! | (payload[2]! << 8);
  if (top > lane.exponentMask) throw corrupt(NAME, `has a top exponent of ${top}`);
  const widths = memory.subarray(exports.packedWidths(), exports.packedWidths() + LEVELS);
  for (let level = 0; level < LEVELS; level++) {
    const width = (payload[3 + (level >> 1)]! >> (4 * (level & 1))) & 15;
    if (width > WIDTH_MAX || width > 8 * (lane.widthBytes - low))
      throw corrupt(NAME, `has a width of ${width} bits`);
    widths[level] = width;
  }
  exports.packedSetup(Number(lane.float), lane.mantissaBits, lane.exponentMask);
  exports.packedSetTop(top);
  return { low, mapped, gapBytes: readU24(payload, 11) };
}

/** Makes lanes of the planes at work, and moves the parent's by them. */
function joinPlanes({ memory, at, exports }: Kernels, lane: Lane, count: number, low: number): void {
  const { widthBytes } = lane;
  memory.fill(0, at.work + Math.min(widthBytes, low + 2) * count, at.work + widthBytes * count);
  exports.joinPlanes(at.work, at.output, count, widthBytes);
  exports.addBack(count * widthBytes, widthBytes, Number(lane.float));
}

/**
 * Chunks of which more groups of 16 lanes than this did not change are soon coded by residuals, and much smaller: those
 * of wide lanes sooner, whose low bytes a map does not spare.
 */
const unchangedShareMax = ({ widthBytes }: Lane) => (widthBytes <= 2 ? 0.85 : 0.6);
