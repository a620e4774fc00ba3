// One memory, cut into fixed regions that hold a chunk of the largest size or what is computed from it. The kernels
// know where everything lies; the loader asks for the addresses it needs. Reading past a region stays in memory.

/** Bytes of the largest chunk, and what a kernel may touch past it when it works 16 bytes at a time. */
export const CHUNK_BYTES: usize = (1 << 20) + 1024;
/** Elements of the largest chunk that residuals are coded of, rounded up to whole groups of 16, and one group. */
export const ELEMENTS: usize = 65536 + 64;

const START: usize = (__heap_base + 63) & ~63;

/** The chunk, its bases, scratch space of a chunk's size, and where results go. */
export const INPUT: usize = START;
export const BASE: usize = INPUT + CHUNK_BYTES;
export const BASE2: usize = BASE + CHUNK_BYTES;
export const WORK: usize = BASE2 + CHUNK_BYTES;
export const OUTPUT: usize = WORK + CHUNK_BYTES;

/** Folded residuals (i16, i32 or i64); u8 by lane: their levels, contexts, tokens and how many raw bits each has. */
export const RESIDUALS: usize = OUTPUT + CHUNK_BYTES;
export const LANE_LEVELS: usize = RESIDUALS + ELEMENTS * 8;
export const CONTEXTS: usize = LANE_LEVELS + ELEMENTS;
export const TOKENS: usize = CONTEXTS + ELEMENTS;
export const RAW_SIZES: usize = TOKENS + ELEMENTS;
/** Where a lane's table begins, and when encoding its token's range in it; before there are tables, its context and token: u16. */
export const PLACES: usize = RAW_SIZES + ELEMENTS;
/** One byte a group of 16 elements: whether any of them changed; and the contexts of that. */
export const MAP: usize = PLACES + ELEMENTS * 2;
export const MAP_CONTEXTS: usize = MAP + ELEMENTS / 16;
/** A stream, written from its end. */
export const STREAM: usize = MAP_CONTEXTS + ELEMENTS / 8;
export const STREAM_BYTES: usize = 2 * CHUNK_BYTES;
/** Raw bits, or what of a plane is not in a stream. */
export const BITS: usize = STREAM + STREAM_BYTES;

/** Contexts of a lane, tokens of a context, tables that contexts share, and slots of a table. */
export const CONTEXT_COUNT: u32 = 128;
export const TOKEN_COUNT: u32 = 32;
export const TABLES_MAX: u32 = 16;
export const SLOT_COUNT: u32 = 4096;
/** Tokens by context, u32, counted in two halves; the first one becomes the sum. */
export const COUNTS: usize = BITS + CHUNK_BYTES;
const COUNTS_BYTES: usize = 128 * 32 * 4;
export const COUNTS2: usize = COUNTS + COUNTS_BYTES;
/** Tables as they are stored. */
export const TABLES: usize = COUNTS2 + COUNTS_BYTES;
export const TABLES_BYTES: usize = 8192;
/** By table and slot, u32; by table and token, 32 bytes: see tables.ts. */
export const SLOTS: usize = TABLES + TABLES_BYTES;
export const RANGES: usize = SLOTS + 16 * 4096 * 4 + 64;
export const END: usize = RANGES + 16 * 32 * 32 + 64;

/** Addresses by number, in the order the loader names them. */
export function addressOf(index: u32): usize {
  switch (index) {
    case 0: return INPUT;
    case 1: return BASE;
    case 2: return BASE2;
    case 3: return WORK;
    case 4: return OUTPUT;
    case 5: return BITS;
    default: return END;
  }
}
