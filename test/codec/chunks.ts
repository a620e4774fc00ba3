import type { Element } from "../../src/codec/element.ts";
import { elementWidth } from "../../src/codec/element.ts";
import { noise } from "./seeded.ts";

/** Names of the shapes of data that `chunkOf` makes. */
export const SHAPES = ["random", "zero", "constant", "ramp", "gaussian", "special", "sparse"] as const;
export type Shape = (typeof SHAPES)[number];

/** A chunk of `count` elements, and `tailBytes` of an incomplete one. */
export function chunkOf(
  element: Element,
  shape: Shape,
  count: number,
  seed: number,
  tailBytes = 0,
): Uint8Array {
  const width = elementWidth(element);
  const bytes = new Uint8Array(count * width + tailBytes);
  const next = noise(seed);
  if (shape === "random") for (let i = 0; i < bytes.length; i++) bytes[i] = next() >>> 11;
  if (shape === "constant") for (let i = 0; i < bytes.length; i++) bytes[i] = 0x3f + (i % width);
  if (shape === "ramp") for (let i = 0; i < bytes.length; i++) bytes[i] = i % width === 0 ? i / width : 0;
  if (shape === "sparse") for (let i = 0; i < bytes.length; i++) bytes[i] = next() % 97 === 0 ? next() : 0;
  if (shape === "gaussian" || shape === "special") fillFloats(bytes, element, shape, next);
  return bytes;
}

/** Bit patterns that float codecs get wrong: infinities, NaN payloads, -0, denormals, extremes. */
const SPECIAL_F32 = [
  0, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00001, 0xffffffff, 1, 0x80000001, 0x7f7fffff,
];

function fillFloats(bytes: Uint8Array, element: Element, shape: Shape, next: () => number): void {
  const lanes = new DataView(new ArrayBuffer(8));
  for (let at = 0; at < bytes.length; at += elementWidth(element)) {
    if (shape === "special") lanes.setUint32(4, SPECIAL_F32[next() % SPECIAL_F32.length]!, true);
    else lanes.setFloat32(4, gaussian(next) * 0.02, true);
    if (element === "f64") lanes.setFloat64(0, gaussian(next) * 0.02, true);
    const source =
      element === "bf16" || element === "f16" ? 6 : element === "f64" || element === "c64" ? 0 : 4;
    for (let b = 0; b < elementWidth(element) && at + b < bytes.length; b++) {
      bytes[at + b] = lanes.getUint8((source + b) % 8);
    }
  }
}

function gaussian(next: () => number): number {
  const u = (next() + 1) / 4294967297;
  return Math.sqrt(-2 * Math.log(u)) * Math.cos((2 * Math.PI * next()) / 4294967296);
}

/** A later state of a chunk: some of its elements moved by a little, as a training step does. */
export function stepped(bytes: Uint8Array, width: number, oneIn: number, seed: number): Uint8Array {
  const later = new Uint8Array(bytes);
  const next = noise(seed);
  for (let at = 0; at + width <= later.length; at += width) {
    if (next() % oneIn === 0) later[at] = (later[at]! + 1 + (next() % 3)) & 255;
  }
  return later;
}
