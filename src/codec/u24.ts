/** Three bytes, the lowest first. */
export const u24 = (value: number) => [value & 255, (value >> 8) & 255, value >> 16] as const;

export const readU24 = (bytes: Uint8Array, at: number) =>
  bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16);
