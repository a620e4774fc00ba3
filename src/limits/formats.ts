// Bounds of files that are read: what a header may claim before anything is allocated for it.

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

/** Entries of one ZIP archive (`.pt`, `.npz`): one a storage; more than twice what the largest models have. */
export const ZIP_ENTRIES_MAX = 262_144;

/** Bytes of a ZIP archive's directory: `ZIP_ENTRIES_MAX` entries with names of 200 bytes. */
export const ZIP_DIRECTORY_BYTES_MAX = 64 << 20;

/** Bytes of the pickle in a `.pt` file: 200 bytes a tensor for 262,144 of them, and room for a trainer's own state. */
export const PICKLE_BYTES_MAX = 64 << 20;

/** Values one pickle may put on its stack: thirty a tensor for 262,144 tensors, twice. */
export const PICKLE_VALUES_MAX = 16_777_216;

/** Lists, dicts and objects in one pickle: eight a tensor for 262,144 tensors, twice; they take about 100 bytes each. */
export const PICKLE_CONTAINERS_MAX = 4_194_304;

/** Tensors in one pickle: as many as one safetensors file may have. */
export const PICKLE_TENSORS_MAX = 262_144;

/** Axes of a tensor in a pickle: PyTorch stops there, and it bounds what a shape that is used often can cost. */
export const PICKLE_RANK_MAX = 64;

/** Containers inside one another that are looked into for tensors: real checkpoints nest less than ten. */
export const PICKLE_DEPTH_MAX = 128;

/** Characters of a tensor's name made of a path into a checkpoint; a longer one is cut and numbered. */
export const TENSOR_PATH_CHARACTERS_MAX = 1024;

/** Bytes of an `.npy` header: a dtype, a shape and padding; NumPy itself reads no more than 10,000 unasked. */
export const NPY_HEADER_BYTES_MAX = 64 << 10;

/** Bytes of one row of a text table: wide feature rows take kilobytes; a quote that is never closed asks for more. */
export const ROW_BYTES_MAX = 16 << 20;

/** Columns of one table: the widest feature tables have thousands; each costs an array or two a batch. */
export const TABLE_COLUMNS_MAX = 16_384;

/** Rows of a batch that a reader of tables hands out: large enough to encode well, small enough to hold several. */
export const TABLE_BATCH_ROWS = 65_536;

/** Bytes one compressed buffer of an Arrow file may decompress to: Arrow's own 32-bit offsets end there too. */
export const ARROW_BUFFER_BYTES_MAX = 0x7fffffff;

/** Bytes of a table file that must be held whole (Parquet, Arrow files, zstd without a streaming decoder). */
export const TABLE_FILE_BYTES_MAX = 2 ** 31 - 1;

/** Numbers in one cell of a fixed-size list: the widest embeddings have a few thousand. */
export const LIST_SIZE_MAX = 65_536;

/** Graphs, nodes and tensors inside one another in an ONNX model: a loop in a branch in a loop nests a dozen. */
export const ONNX_DEPTH_MAX = 128;

/** Tensors in one ONNX model that are kept as tensors: as many as one safetensors file may have. */
export const ONNX_TENSORS_MAX = 262_144;

/** Bytes of a name or of a file's place in an ONNX model. */
export const ONNX_TEXT_BYTES_MAX = 4096;

/**
 * A smaller tensor of an ONNX model stays in the skeleton: graphs hold thousands of constants of a few bytes, and
 * each one on its own would cost more to describe than it has.
 */
export const ONNX_TENSOR_BYTES_MIN = 512;

/** Tables of flatbuffers in the metadata of one Arrow file: a million batches, or the widest schema many times. */
export const ARROW_TABLES_MAX = 4_194_304;

/** Fields inside one another in an Arrow schema: columns here nest once. */
export const ARROW_NESTING_MAX = 64;

/** Rows of one Arrow batch: its own 32-bit offsets end there. */
export const ARROW_ROWS_MAX = 2 ** 31 - 1;

/** Parts by which the dictionaries of one Arrow file may grow: with each, all of its values are laid out again. */
export const ARROW_DELTAS_MAX = 64;

/** Bytes that dictionaries' values may take once they are put where rows point at them, in one batch. */
export const ARROW_EXPANDED_BYTES_MAX = 2 ** 31 - 1;

/**
 * A smaller initializer of a skeleton stays in the model: shapes and axes are such, and the runtime looks at their
 * values before it takes external data.
 */
export const ONNX_EXTERNAL_BYTES_MIN = 4096;

/** Milliseconds that a Parquet file's footer, or one column of one batch, may take to decode: real ones take less than two seconds. */
export const PARQUET_STEP_MS_MAX = 60_000;

/** Bytes of JavaScript objects while a Parquet file is decoded: a row group of a million texts takes a quarter of it. */
export const PARQUET_HEAP_BYTES_MAX = 1 << 30;

/** Bytes that decoding a Parquet file may take in all, beside the file itself, which is held twice. */
export const PARQUET_MEMORY_BYTES_MAX = 3 * 2 ** 30;
