// The memory of the column kernels, past that of the others: only who encodes columns makes it exist. Callers pass
// addresses within it; the loader knows them by number. It begins at a fixed address, which the loader compares with the
// end of what lies before, so that hot loops find their tables by constants.

/** Rows of a page, and what a kernel may touch past them when it works on whole vectors. */
export const PAGE: usize = 65536 + 64;
/** Rows that are decoded at once, while they lie in the nearest cache. */
export const BLOCK: usize = 1024;
/** Tables of a page: contexts, bins, and bits of a frequency. */
export const CONTEXTS_MAX: usize = 32;
export const BINS_MAX: usize = 256;
export const TABLE_BITS_MAX: usize = 12;
/** Pages of integers that are kept for the columns stored against them. */
export const KEPT_PAGES: usize = 32;

/** Values as the column has them; their integers; what predicts them; what is left; and room to sort. */
export const SOURCE: usize = 16 << 20;
export const LATTICE: usize = SOURCE + PAGE * 8;
export const REFERENCE: usize = LATTICE + PAGE * 8;
export const RESIDUAL: usize = REFERENCE + PAGE * 8;
export const SPARE: usize = RESIDUAL + PAGE * 8;
/** A page as stored, both ways; payloads lie here while they are read. */
export const PACKED: usize = SPARE + PAGE * 8;
/** u8 by row: bins, and contexts before the previous bin's class is added. */
export const TOKENS: usize = PACKED + PAGE * 12;
export const CONTEXT: usize = TOKENS + PAGE;
/** By bin, 32 bytes: lower i64, mask of its raw bits u64, how many these are u8, class u8. */
export const BINS: usize = CONTEXT + PAGE;
/** By bin: class u8. */
export const CLASSES: usize = BINS + BINS_MAX * 32;
/** By context and bin: frequency u16; start u16. */
export const FREQUENCIES: usize = CLASSES + BINS_MAX;
export const STARTS: usize = FREQUENCIES + CONTEXTS_MAX * BINS_MAX * 2;
/** By context and slot: token | (slot - start) << 8 | (frequency - 1) << 20, or << 18 and class << 28 with up to 10 bits. */
export const SLOTS: usize = STARTS + CONTEXTS_MAX * BINS_MAX * 2;
/** By context and bin: how often, u32. */
export const COUNTS: usize = SLOTS + (CONTEXTS_MAX << TABLE_BITS_MAX) * 4 + 64;
/** By which of four lanes take in a word: where its bytes go, 16 bytes each. */
export const REFILLS: usize = COUNTS + CONTEXTS_MAX * BINS_MAX * 4;
/** n * log2(n) of every count, f64. */
export const LOGS: usize = REFILLS + 16 * 16;
/** What rows are restored with, as columns-rows.ts says; integers of a block, and what predicts them after one more row. */
export const ROWS_STATE: usize = LOGS + PAGE * 8 + 64;
export const BLOCK_INTEGERS: usize = ROWS_STATE + 128;
export const BLOCK_REFERENCE: usize = BLOCK_INTEGERS + BLOCK * 8 + 64;
/** Integers of whole pages; who decodes says which. */
export const KEPT: usize = BLOCK_REFERENCE + BLOCK * 8 + 128;
export const COLUMNS_END: usize = KEPT + KEPT_PAGES * 65536 * 8 + 64;

export function columnsAddressOf(index: u32): usize {
  switch (index) {
    case 0: return SOURCE;
    case 1: return LATTICE;
    case 2: return REFERENCE;
    case 3: return RESIDUAL;
    case 4: return SPARE;
    case 5: return PACKED;
    case 6: return TOKENS;
    case 7: return CONTEXT;
    case 8: return BINS;
    case 9: return FREQUENCIES;
    case 10: return COUNTS;
    case 11: return LOGS;
    case 12: return ROWS_STATE;
    case 13: return KEPT;
    default: return COLUMNS_END;
  }
}
