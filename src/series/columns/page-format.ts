/** How a page's residuals are stored: the high half of a page's first byte. The low half is the kind of prediction. */
export const LIGHT = 0;
export const COMPACT = 1;
/** The values as they are, by the chunk codec. */
export const BYTES = 2;
