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
