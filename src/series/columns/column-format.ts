/** An encoded column's first byte; the layout is drawn in docs/formats/columns.md. */
export const FLAG_VALIDITY = 1;
/** utf8 and binary: distinct values once, and which of them each row has. */
export const FLAG_DICTIONARY = 2;
/** f64: what is stored is what is left beside a formula over other columns. */
export const FLAG_RECIPE = 4;
