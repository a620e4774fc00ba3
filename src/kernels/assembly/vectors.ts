// Vectors that inner loops use. V8 makes a constant vector anew wherever one stands, in four instructions; a load is one.

export const BYTES_7 = memory.data<u8>([7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7], 16);
export const BYTES_15 = memory.data<u8>([15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15], 16);
export const BYTES_16 = memory.data<u8>([16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16], 16);
export const BYTES_30 = memory.data<u8>([30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30], 16);
export const BYTES_31 = memory.data<u8>([31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31], 16);
export const WORDS_1 = memory.data<u16>([1, 1, 1, 1, 1, 1, 1, 1], 16);
export const WORDS_23 = memory.data<u16>([23, 23, 23, 23, 23, 23, 23, 23], 16);
export const WORDS_255 = memory.data<u16>([255, 255, 255, 255, 255, 255, 255, 255], 16);
export const WORDS_TOP = memory.data<u16>([32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768], 16);
export const LONGS_1 = memory.data<u32>([1, 1, 1, 1], 16);
export const LONGS_15 = memory.data<u32>([15, 15, 15, 15], 16);
export const LONGS_23 = memory.data<u32>([23, 23, 23, 23], 16);
export const LONGS_122 = memory.data<u32>([122, 122, 122, 122], 16);
export const LONGS_127 = memory.data<u32>([127, 127, 127, 127], 16);
export const LONGS_23_BITS = memory.data<u32>([8388607, 8388607, 8388607, 8388607], 16);
export const LONGS_LOWER = memory.data<u32>([65535, 65535, 65535, 65535], 16);
export const LONGS_TOP = memory.data<u32>([2147483648, 2147483648, 2147483648, 2147483648], 16);
/** 8, 255 and 2^23 as floats. */
export const FLOATS_8 = memory.data<u32>([1090519040, 1090519040, 1090519040, 1090519040], 16);
export const FLOATS_255 = memory.data<u32>([1132396544, 1132396544, 1132396544, 1132396544], 16);
export const FLOATS_2_23 = memory.data<u32>([1258291200, 1258291200, 1258291200, 1258291200], 16);
