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

/** Folded residuals (i16 or i64), their contexts (u16), first symbols (u8), and the lists of what needs more symbols. */
export const RESIDUALS: usize = OUTPUT + CHUNK_BYTES;
export const CONTEXTS: usize = RESIDUALS + ELEMENTS * 8;
export const SYMBOLS: usize = CONTEXTS + ELEMENTS * 2;
export const LIST: usize = SYMBOLS + ELEMENTS;
export const LIST_CONTEXTS: usize = LIST + ELEMENTS * 4;
export const LIST_SYMBOLS: usize = LIST_CONTEXTS + ELEMENTS * 2;
/** One byte a group of 16 elements: whether any of them changed; and the contexts of that. */
export const MAP: usize = LIST_SYMBOLS + ELEMENTS;
export const MAP_CONTEXTS: usize = MAP + ELEMENTS / 16;
/** (start << 16 | frequency) of every symbol, first to last; and the stream that is written from its end. */
export const STEPS: usize = MAP_CONTEXTS + ELEMENTS / 8;
export const STEPS_MAX: usize = ELEMENTS * 3 + 8192;
export const STREAM: usize = STEPS + STEPS_MAX * 4;
export const STREAM_BYTES: usize = 2 * CHUNK_BYTES;
/** Raw low bits, or what of a plane is not in a stream. */
export const BITS: usize = STREAM + STREAM_BYTES;
export const MODELS: usize = BITS + CHUNK_BYTES;
export const MODELS_MAX: usize = 512;
/** Reciprocals of every frequency, so that encoding needs no division. */
export const RECIPROCALS: usize = MODELS + MODELS_MAX * 64;
export const TARGETS: usize = RECIPROCALS + 32769 * 8;
export const END: usize = TARGETS + 16 * 32 + 64;

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
