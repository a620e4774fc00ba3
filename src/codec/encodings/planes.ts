import { CHUNK_ELEMENTS } from "../../limits.ts";
import { corrupt } from "../corrupt.ts";
import type { Encoding, Profile, Workshop } from "../encoding.ts";
import { type Lane, laneOf } from "../lanes.ts";
import { readPlane, writePlane } from "../plane.ts";
import { lay, roundUp } from "../regions.ts";

/**
 * Byte planes, each coded as it is least (see plane.ts): for chunks without a parent. Floats are first rotated left by
 * one bit, so that the top plane is the exponent; the sign joins the mantissa.
 *
 *     plane of the lanes' first byte | … | plane of their last byte | bytes of an incomplete last lane
 */
export const planes: Encoding = {
  id: 7,
  name: "planes",
  encode: (workshop, { bytes, element, profile }) => {
    const lane = laneOf(element);
    const { memory, at, exports } = workshop.kernels;
    lay(memory, at.input, bytes, bytes.length);
    if (turns(lane)) exports.turn(roundUp(bytes.length), lane.widthBytes);
    const payload = writePlanes(workshop, lane, bytes, profile);
    return payload.length < bytes.length ? { payload, basesUsed: 0 } : undefined;
  },
  decode: (workshop, { payload, element }, target) => {
    const lane = laneOf(element);
    readPlanes(workshop, "planes", lane, payload, target, () => {
      if (turns(lane)) workshop.kernels.exports.turnBack(roundUp(target.length), lane.widthBytes);
    });
  },
};

/**
 * Byte planes of the zigzag differences from the parent, in order-preserving integers: for speed. What the parent is
 * too short for is coded against zero.
 */
export const differencePlanes: Encoding = {
  id: 8,
  name: "difference-planes",
  encode: (workshop, { bytes, element, bases, profile }) => {
    const base = bases[0];
    if (base === undefined) return undefined;
    const lane = laneOf(element);
    const { memory, at, exports } = workshop.kernels;
    lay(memory, at.input, bytes, bytes.length);
    lay(memory, at.base, base, bytes.length);
    if (profile === "fast" && mostlyUnchanged(workshop, bytes.length, lane)) return undefined;
    exports.differ(roundUp(bytes.length), lane.widthBytes, Number(lane.float));
    const payload = writePlanes(workshop, lane, bytes, profile);
    return payload.length < bytes.length ? { payload, basesUsed: 1 } : undefined;
  },
  decode: (workshop, { payload, element, bases }, target) => {
    const base = bases[0];
    if (base === undefined) throw corrupt("difference-planes", "needs a base, the frame names none");
    const lane = laneOf(element);
    const { memory, at, exports } = workshop.kernels;
    lay(memory, at.base, base, target.length);
    readPlanes(workshop, "difference-planes", lane, payload, target, () =>
      exports.addBack(roundUp(target.length), lane.widthBytes, Number(lane.float)),
    );
  },
};

/** Chunks of which most groups of 16 lanes did not change are soon coded by residuals, and much smaller. */
const UNCHANGED_SHARE = 0.6;

function mostlyUnchanged({ kernels }: Workshop, sizeBytes: number, { widthBytes }: Lane): boolean {
  const groups = Math.ceil(sizeBytes / widthBytes / 16);
  if (groups * 16 > CHUNK_ELEMENTS) return false;
  return kernels.exports.mapChanged(groups * 16, widthBytes) < groups * (1 - UNCHANGED_SHARE);
}

const turns = ({ float, widthBytes }: Lane) => float && widthBytes > 1;

/** Splits the input region and writes its planes, then the tail as it was. */
function writePlanes(
  workshop: Workshop,
  { widthBytes }: Lane,
  bytes: Uint8Array,
  profile: Profile,
): Uint8Array {
  const { exports, at } = workshop.kernels;
  const count = Math.floor(bytes.length / widthBytes);
  exports.splitPlanes(at.input, at.work, count, widthBytes);
  workshop.payloads.begin();
  for (let plane = 0; plane < widthBytes; plane++)
    writePlane(workshop, at.work + plane * count, count, profile);
  return workshop.payloads.put(bytes.subarray(count * widthBytes)).finish();
}

/** Reads planes into the output region, lets `restore` undo what was done to the lanes, and fills `target`. */
function readPlanes(
  workshop: Workshop,
  name: string,
  { widthBytes }: Lane,
  payload: Uint8Array,
  target: Uint8Array,
  restore: () => void,
): void {
  const { exports, memory, at } = workshop.kernels;
  const count = Math.floor(target.length / widthBytes);
  let rest = payload;
  for (let plane = 0; plane < widthBytes; plane++) {
    const sizeBytes = readPlane(workshop, rest, at.work + plane * count, count);
    if (sizeBytes === undefined) throw corrupt(name, `has a plane ${plane} that does not decode`);
    rest = rest.subarray(sizeBytes);
  }
  const lanesBytes = count * widthBytes;
  if (rest.length !== target.length - lanesBytes) throw corrupt(name, "does not end with its last lane");
  exports.joinPlanes(at.work, at.output, count, widthBytes);
  restore();
  target.set(memory.subarray(at.output, at.output + lanesBytes));
  target.set(rest, lanesBytes);
}
