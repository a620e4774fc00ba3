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

/** Ors `count` bits from the start of `bits` into `target` at bit `at`; the target's bits there are 0. */
export function putBits(target: Uint8Array, at: number, bits: Uint8Array, count: number): void {
  const shift = at & 7;
  const start = at >> 3;
  const bytes = Math.ceil(count / 8);
  if (shift === 0) {
    target.set(bits.subarray(0, bytes), start);
    return;
  }
  for (let i = 0; i < bytes; i++) {
    target[start + i]! |= (bits[i]! << shift) & 255;
    const high = bits[i]! >> (8 - shift);
    if (high !== 0) target[start + i + 1]! |= high;
  }
}

export function bitAt(bitmap: Uint8Array, index: number): boolean {
  return ((bitmap[index >> 3]! >> (index & 7)) & 1) === 1;
}
