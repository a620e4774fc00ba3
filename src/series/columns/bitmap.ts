/** Bits [from, from + count) of a bitmap, moved to its start; bits past the end are 0. A copy. */
export function sliceBits(bitmap: Uint8Array, from: number, count: number): Uint8Array {
  const out = new Uint8Array(Math.ceil(count / 8));
  const shift = from & 7;
  const start = from >> 3;
  if (shift === 0) out.set(bitmap.subarray(start, start + out.length));
  else {
    for (let i = 0; i < out.length; i++) {
      out[i] = (bitmap[start + i]! >> shift) | ((bitmap[start + i + 1] ?? 0) << (8 - shift));
    }
  }
  if ((count & 7) !== 0) out[out.length - 1]! &= (1 << (count & 7)) - 1;
  return out;
}

export function bitAt(bitmap: Uint8Array, index: number): boolean {
  return ((bitmap[index >> 3]! >> (index & 7)) & 1) === 1;
}

/** A bitmap of values that are 0 or 1. */
export function packBits(values: Uint8Array): Uint8Array {
  const bitmap = new Uint8Array(Math.ceil(values.length / 8));
  for (let i = 0; i < values.length; i++) bitmap[i >> 3]! |= (values[i]! & 1) << (i & 7);
  return bitmap;
}
