import { StoreError } from "../errors.ts";

/**
 * What the codec must know of a chunk's elements: their width and, for numbers, what their bits mean. Little-endian.
 *
 * The code is a u8 on disk and never changes its meaning. A dtype that has no element of its own is stored as the
 * integer of its width (BOOL, F4, F6 and E8M0 as `u8`); `bytes` is for what has no elements at all.
 */
const elements = {
  bytes: { code: 0, widthBytes: 1 },
  u8: { code: 1, widthBytes: 1 },
  i8: { code: 2, widthBytes: 1 },
  u16: { code: 3, widthBytes: 2 },
  i16: { code: 4, widthBytes: 2 },
  u32: { code: 5, widthBytes: 4 },
  i32: { code: 6, widthBytes: 4 },
  u64: { code: 7, widthBytes: 8 },
  i64: { code: 8, widthBytes: 8 },
  f16: { code: 9, widthBytes: 2 },
  bf16: { code: 10, widthBytes: 2 },
  f32: { code: 11, widthBytes: 4 },
  f64: { code: 12, widthBytes: 8 },
  f8e4m3: { code: 13, widthBytes: 1 },
  f8e5m2: { code: 14, widthBytes: 1 },
  /** Complex numbers of two f32: one element is eight bytes. */
  c64: { code: 15, widthBytes: 8 },
} as const;

export type Element = keyof typeof elements;

export const ELEMENTS = Object.keys(elements) as Element[];

/** Bytes of one element. */
export function elementWidth(element: Element): number {
  return elements[element].widthBytes;
}

/** Bytes of what is predicted and split as one number: a complex number is two. */
export function laneWidth(element: Element): number {
  return element === "c64" ? 4 : elements[element].widthBytes;
}

/** The u8 that stands for the element on disk. */
export function elementCode(element: Element): number {
  return elements[element].code;
}

/** @throws StoreError ERR_STORE_CORRUPT for a code this release does not know. */
export function elementOf(code: number): Element {
  const element = ELEMENTS[code];
  if (element === undefined) {
    throw new StoreError("ERR_STORE_CORRUPT", `unknown element code ${code}`, {
      context: { code },
      hint: "The frame is damaged or was written by a newer release.",
    });
  }
  return element;
}
