import { corrupt } from "../corrupt.ts";
import { type Element, laneWidth } from "../element.ts";
import type { Encoding, Profile, Workshop } from "../encoding.ts";
import { ZSTD_LEVEL } from "../libraries.ts";

/**
 * Byte planes, each as a zstd frame where that is smaller:
 *
 *     for each plane: sizeBytes u24, then the plane itself if sizeBytes is its length, else its zstd frame
 *     tail: the bytes of an incomplete last element, as they are
 */
export const planesZstd: Encoding = {
  id: 4,
  name: "planes-zstd",
  encode: (workshop, { bytes, element, profile }) => {
    workshop.kernels.memory.set(bytes, workshop.kernels.at.input);
    return gained(encodePlanes(workshop, bytes.length, element, profile), bytes.length, 0);
  },
  decode: (workshop, { payload, element }, target) => {
    const { memory, at } = workshop.kernels;
    decodePlanes(workshop, "planes-zstd", payload, element, target.length);
    target.set(memory.subarray(at.output, at.output + target.length));
  },
};

/** Byte planes of the exclusive or with the first base; past the base's end, of the chunk alone. */
export const xorPlanesZstd: Encoding = {
  id: 5,
  name: "xor-planes-zstd",
  encode: (workshop, { bytes, element, bases, profile }) => {
    const base = bases[0];
    if (base === undefined) return undefined;
    const { exports, memory, at } = workshop.kernels;
    memory.set(bytes, at.input);
    exports.xorInto(at.input, at.input, layBase(workshop, base, bytes.length), bytes.length);
    return gained(encodePlanes(workshop, bytes.length, element, profile), bytes.length, 1);
  },
  decode: (workshop, { payload, element, bases }, target) => {
    const base = bases[0];
    if (base === undefined) throw corrupt("xor-planes-zstd", "needs a base, the frame names none");
    const { exports, memory, at } = workshop.kernels;
    decodePlanes(workshop, "xor-planes-zstd", payload, element, target.length);
    exports.xorInto(at.output, at.output, layBase(workshop, base, target.length), target.length);
    target.set(memory.subarray(at.output, at.output + target.length));
  },
};

/** Lays the base beside a chunk of `sizeBytes`: cut to its length, or continued with zeros. */
function layBase(workshop: Workshop, base: Uint8Array, sizeBytes: number): number {
  const { memory, at } = workshop.kernels;
  const shared = Math.min(base.length, sizeBytes);
  memory.set(base.subarray(0, shared), at.base);
  memory.fill(0, at.base + shared, at.base + sizeBytes);
  return at.base;
}

function gained(payload: Uint8Array, sizeBytes: number, basesUsed: number) {
  return payload.length < sizeBytes ? { payload, basesUsed } : undefined;
}

/** Encodes the `sizeBytes` in the input region. */
function encodePlanes(workshop: Workshop, sizeBytes: number, element: Element, profile: Profile): Uint8Array {
  const { exports, memory, at } = workshop.kernels;
  const width = laneWidth(element);
  const count = Math.floor(sizeBytes / width);
  exports.splitPlanes(at.input, at.work, count, width);
  workshop.payloads.begin();
  for (let plane = 0; plane < width; plane++) {
    const start = at.work + plane * count;
    const bytes = memory.subarray(start, start + count);
    const packed = workshop.zstd.encode(bytes, ZSTD_LEVEL[profile]);
    const kept = packed.length < count ? packed : bytes;
    workshop.payloads.put([kept.length & 255, (kept.length >> 8) & 255, kept.length >> 16]).put(kept);
  }
  return workshop.payloads.put(memory.subarray(at.input + count * width, at.input + sizeBytes)).finish();
}

/** Decodes into the output region. */
function decodePlanes(
  workshop: Workshop,
  name: string,
  payload: Uint8Array,
  element: Element,
  sizeBytes: number,
): void {
  const { exports, memory, at } = workshop.kernels;
  const width = laneWidth(element);
  const count = Math.floor(sizeBytes / width);
  let offset = 0;
  for (let plane = 0; plane < width; plane++) {
    if (offset + 3 > payload.length) throw corrupt(name, `ends in the header of plane ${plane}`);
    const keptBytes = payload[offset]! | (payload[offset + 1]! << 8) | (payload[offset + 2]! << 16);
    const kept = payload.subarray(offset + 3, offset + 3 + keptBytes);
    if (kept.length !== keptBytes) throw corrupt(name, `ends in plane ${plane}`);
    const bytes = keptBytes === count ? kept : workshop.zstd.decode(kept, count);
    if (bytes === undefined) throw corrupt(name, `has a plane ${plane} that does not decode`);
    memory.set(bytes, at.work + plane * count);
    offset += 3 + keptBytes;
  }
  const tailBytes = sizeBytes - count * width;
  if (payload.length - offset !== tailBytes) throw corrupt(name, "does not end with its last element");
  exports.joinPlanes(at.work, at.output, count, width);
  memory.set(payload.subarray(offset), at.output + count * width);
}
