import { CHUNK_ELEMENTS } from "../../limits.ts";
import { corrupt } from "../corrupt.ts";
import type { Encoding, Workshop } from "../encoding.ts";
import { type Lane, laneOf } from "../lanes.ts";
import { readPlane, writePlane } from "../plane.ts";
import { lay, roundUp } from "../regions.ts";

const NAME = "difference-pairs";

/**
 * Zigzag differences from the parent, in order-preserving integers, for speed: the low bits, which are noise, are raw,
 * and the four above them go in pairs, so that two lanes cost one symbol of entropy coding. What the parent is too short
 * for is coded against zero.
 *
 *     shift u8 | plane of nibble pairs | low planes of bytes | low planes of bits | plane of escapes | whole escapes | tail
 */
export const differencePairs: Encoding = {
  id: 12,
  name: NAME,
  encode: (workshop, { bytes, element, bases, profile }) => {
    const base = bases[0];
    if (base === undefined) return undefined;
    const lane = laneOf(element);
    const { widthBytes } = lane;
    const { payloads, kernels } = workshop;
    const { memory, at, exports } = kernels;
    const count = Math.floor(bytes.length / widthBytes);
    if (count === 0) return undefined;
    lay(memory, at.input, bytes, bytes.length);
    lay(memory, at.base, base, bytes.length);
    if (profile === "fast" && mostlyUnchanged(workshop, bytes.length, lane)) return undefined;
    exports.differ(roundUp(bytes.length), widthBytes, Number(lane.float));
    const shift = exports.pairsShift(count, widthBytes);
    const escapes = exports.pairsSplit(count, widthBytes, shift);
    if (escapes < 0) return undefined;
    const { lowBytes, bitBytes } = lowSizes(count, shift);
    payloads.begin().put([shift]);
    writePlane(workshop, exports.pairsNibbles(), (count + 1) >> 1, profile);
    payloads.put(memory.subarray(at.work, at.work + lowBytes));
    payloads.put(memory.subarray(exports.pairsBits(), exports.pairsBits() + bitBytes));
    writePlane(workshop, exports.pairsEscapes(), escapes, profile);
    const whole = exports.pairsWhole();
    payloads.put(memory.subarray(whole, whole + exports.pairsWholeCount() * widthBytes));
    const payload = payloads.put(bytes.subarray(count * widthBytes)).finish();
    return payload.length < bytes.length ? { payload, basesUsed: 1 } : undefined;
  },
  decode: (workshop, { payload, element, bases }, target) => {
    const base = bases[0];
    if (base === undefined) throw corrupt(NAME, "needs a base, the frame names none");
    const lane = laneOf(element);
    const { widthBytes } = lane;
    const { memory, at, exports } = workshop.kernels;
    const count = Math.floor(target.length / widthBytes);
    const shift = payload[0] ?? 255;
    if (shift > widthBytes * 8 - 4) throw corrupt(NAME, `has a shift of ${shift}`);
    let rest = payload.subarray(1);
    const plane = (what: string, address: number, size: number) => {
      const sizeBytes = readPlane(workshop, rest, address, size);
      if (sizeBytes === undefined) throw corrupt(NAME, `has ${what} that do not decode`);
      rest = rest.subarray(sizeBytes);
    };
    const stored = (what: string, address: number, sizeBytes: number) => {
      if (rest.length < sizeBytes) throw corrupt(NAME, `ends within its ${what}`);
      memory.set(rest.subarray(0, sizeBytes), address);
      rest = rest.subarray(sizeBytes);
    };
    plane("nibbles", exports.pairsNibbles(), (count + 1) >> 1);
    const { lowBytes, bitBytes } = lowSizes(count, shift);
    stored("low bytes", at.work, lowBytes);
    stored("low bits", exports.pairsBits(), bitBytes);
    const escapes = exports.pairsCountEscapes(count);
    if (escapes < 0) throw corrupt(NAME, "has more escapes than any encoder writes");
    plane("escapes", exports.pairsEscapes(), escapes);
    stored("escapes", exports.pairsWhole(), exports.pairsCountWhole(escapes) * widthBytes);
    const lanesBytes = count * widthBytes;
    if (rest.length !== target.length - lanesBytes) throw corrupt(NAME, "does not end with its last lane");
    exports.pairsJoin(count, widthBytes, shift);
    lay(memory, at.base, base, target.length);
    exports.addBack(roundUp(target.length), widthBytes, Number(lane.float));
    target.set(memory.subarray(at.output, at.output + lanesBytes));
    target.set(rest, lanesBytes);
  },
};

/** Bytes of the low planes. */
function lowSizes(count: number, shift: number): { lowBytes: number; bitBytes: number } {
  return { lowBytes: count * (shift >> 3), bitBytes: Math.ceil(count / 8) * (shift & 7) };
}

/** Chunks of which most groups of 16 lanes did not change are soon coded by residuals, and much smaller. */
const UNCHANGED_SHARE = 0.6;

function mostlyUnchanged({ kernels }: Workshop, sizeBytes: number, { widthBytes }: Lane): boolean {
  const groups = Math.ceil(sizeBytes / widthBytes / 16);
  if (groups * 16 > CHUNK_ELEMENTS) return false;
  return kernels.exports.mapChanged(groups * 16, widthBytes) < groups * (1 - UNCHANGED_SHARE);
}
