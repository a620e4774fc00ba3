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

/** Axes of one tensor: array libraries stop at 64; one byte holds it in every record. */
export const TENSOR_RANK_MAX = 255;

/** Bytes of a safetensors header: the format's own cap, so that a hostile length cannot ask for memory. */
export const SAFETENSORS_HEADER_BYTES_MAX = 100_000_000;

/** Objects and arrays inside one another in a safetensors header: the format's parser stops at the 128th. */
export const SAFETENSORS_NESTING_MAX = 127;

/** Tensors in one safetensors file: more than twice the largest models have over all shards; bounds a parse's memory. */
export const SAFETENSORS_TENSORS_MAX = 262_144;

/** Entries of `__metadata__`, and extra keys in one tensor's entry: bounds the set that finds duplicates. */
export const SAFETENSORS_KEYS_MAX = 65_536;

/** Bytes of a version's `resume` blob: random-generator states and a data loader's place; held whole in memory. */
export const RESUME_BYTES_MAX = 64 * 1024 * 1024;
