/** How a page's residuals are stored: the high half of a page's first byte. The low half is the kind of prediction. */
export const LIGHT = 0;
export const COMPACT = 1;
/** The values as they are, by the chunk codec. */
export const BYTES = 2;
/** Floats as integers times a base, and what is left of them: two pages of i64. */
export const MULTIPLES = 3;
