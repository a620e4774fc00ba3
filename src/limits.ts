/**
 * Every bound in one place, each with its reason. A value at the limit works, one past it is an error that names
 * the limit.
 */

/** Elements of a tensor in one chunk: 256 KiB of f32, small enough to de-duplicate, large enough to compress. */
export const CHUNK_ELEMENTS = 65_536;

/** Raw bytes of one chunk: 65,536 elements of 16 bytes would be the widest; decoders refuse anything larger. */
export const CHUNK_BYTES_MAX = 1 << 20;

/** Bytes of a ref, tag, file or map name in UTF-8: fits a file name and a log line. */
export const NAME_BYTES_MAX = 255;

/** Base chunks one frame may name: parent, grandparent and the optimizer's moments fit with room. */
export const FRAME_BASES_MAX = 8;

/** Chunks one frame may hold. */
export const FRAME_CHUNKS_MAX = 255;

/** Payload of one log record: a large transaction fits, and a write still spans at most two segments. */
export const WAL_RECORD_BYTES_MAX = 2 << 20;

/** Blocks of one log segment: 4 MiB, so that a trim gives space back in small steps. */
export const WAL_SEGMENT_BLOCKS = 1024;

/** Fewest blocks of a log segment: less would leave no room for a write beside the opening block. */
export const WAL_SEGMENT_BLOCKS_MIN = 4;

/** Most blocks of a log segment: 256 MiB, which recovery still reads in one piece. */
export const WAL_SEGMENT_BLOCKS_MAX = 65_536;

/** Payload bytes that may wait behind a full group before `append` refuses more: bounds memory when the disk stalls. */
export const WAL_QUEUE_BYTES_MAX = 32 << 20;
