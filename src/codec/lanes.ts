import type { Element } from "./element.ts";
import { laneWidth } from "./element.ts";

/** How a residual coder reads an element's bits. */
export interface Lane {
  widthBytes: number;
  /** Sign and magnitude, to be ordered; integers are subtracted as they are. */
  float: boolean;
  /** Where the exponent begins and its mask; 0 where there is none. */
  mantissaBits: number;
  exponentMask: number;
}

const FLOATS: Partial<Record<Element, [mantissaBits: number, exponentMask: number]>> = {
  f8e4m3: [3, 15],
  f8e5m2: [2, 31],
  f16: [10, 31],
  bf16: [7, 255],
  f32: [23, 255],
  c64: [23, 255],
  f64: [52, 2047],
};

export function laneOf(element: Element): Lane {
  const [mantissaBits, exponentMask] = FLOATS[element] ?? [0, 0];
  return { widthBytes: laneWidth(element), float: exponentMask !== 0, mantissaBits, exponentMask };
}
