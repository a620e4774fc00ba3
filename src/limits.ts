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

/** Bytes of a critical map's key in UTF-8: an order id or a symbol fits many times over, an index stays small. */
export const KEY_BYTES_MAX = 1024;

/** Encoded bytes of one critical value: larger state belongs into a checkpoint or a series. */
export const VALUE_BYTES_MAX = 1 << 20;

/** Nesting of arrays and objects in one critical value; deeper ones are cycles more often than data. */
export const VALUE_DEPTH_MAX = 64;

/** Encoded bytes of one transaction: one log record (`WAL_RECORD_BYTES_MAX`). */
export const TRANSACTION_BYTES_MAX = 2 << 20;

/** Changes in one transaction: what can be applied without holding the event loop noticeably. */
export const TRANSACTION_CHANGES_MAX = 65_536;

/** Bytes of an actor, a reason or an idempotency key in UTF-8: a sentence, not a document. */
export const ANNOTATION_BYTES_MAX = 1024;

/** Digests a commit may name as what it was based on: models and feature versions of one decision. */
export const BASED_ON_MAX = 16;

/** Maps and sequences in one store together: each costs a few kilobytes and a place in every snapshot. */
export const CRITICAL_NAMES_MAX = 4096;

/** Commits that may wait for the log worker: 64 in flight are its best; this bounds memory, not speed. */
export const COMMITS_IN_FLIGHT_MAX = 16_384;

/** Idempotency keys remembered at once: about 20 MB; the oldest are forgotten first and `stats` says so. */
export const IDEMPOTENCY_KEYS_MAX = 100_000;

/** Opaque bytes of one cut record: positions of a few thousand series. */
export const CUT_RECORD_BYTES_MAX = 256 << 10;

/** Frames a chunk's restore may have to walk: a bound for chains whose links cost next to nothing. */
export const CHAIN_DEPTH_MAX = 64;

/**
 * Restoring a chunk through its chain may cost as much as reading this many times its raw bytes: about eight
 * changed-everywhere versions, or two dozen that changed little.
 */
export const CHAIN_COST_FACTOR = 8;

/** Decoded chunks a reader keeps, for chunks that several tensors, frames or chains share. */
export const DECODED_CACHE_BYTES = 4 << 20;

/** A pack that has grown past this is sealed: few files even for terabytes, and gc rewrites one quickly. */
export const PACK_BYTES_TARGET = 256 << 20;

/**
 * What a disk writes whole, and what a power cut in the middle of writing may leave as garbage. Whatever is appended
 * after something acknowledged begins at a multiple of this, so that no write touches what was promised.
 */
export const SECTOR_BYTES = 512;

/** Digests an encoder remembers within one save, so that repeated chunks are encoded once. */
export const ENCODED_DIGESTS_MAX = 16_384;

/** Bytes of one record of the version log: metrics and metadata are small; what is not belongs in a file. */
export const VERSION_RECORD_BYTES_MAX = 1 << 20;

/** Bases the codec looks at for one chunk: parent and grandparent; more only add memory copies. */
export const CODEC_BASES_MAX = 2;

/** Smallest, mean and largest content-defined chunk of an opaque file: 64 KiB keeps the index small, deltas close. */
export const CUT_BYTES_MIN = 16 * 1024;
export const CUT_BYTES_AVG = 64 * 1024;
export const CUT_BYTES_MAX = 256 * 1024;

/** Bytes of one manifest node: layouts of the largest allowed safetensors header stay well below. */
export const NODE_BYTES_MAX = 256 << 20;

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

/** Files in one version: shards of the largest models number in the hundreds. */
export const VERSION_FILES_MAX = 65_536;

/** Raw bytes encoded or decoded by one job: enough to keep a worker busy for milliseconds, and few in flight. */
export const JOB_BYTES = 1 << 20;

/** Bytes of an opaque file whose cuts are looked for at once. */
export const CUT_WINDOW_BYTES = 4 << 20;

/** Bytes of a version's resume blob: RNG states and loader positions take kilobytes; more is a file of the version. */
export const RESUME_BYTES_MAX = 64 << 20;

/** Metrics, and metadata entries, of one version. */
export const METADATA_ENTRIES_MAX = 4096;

/** gc rewrites a pack when more than this part of it is dead: less is not worth the writing. */
export const GC_REWRITE_FRACTION = 0.1;

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

/** Bytes of one message on the engine's socket: the largest value with room for its frame and a page of entries. */
export const SOCKET_MESSAGE_BYTES_MAX = 8 << 20;

/** Connections to the engine's socket at once: people and scripts, never a bus. */
export const SOCKET_CONNECTIONS_MAX = 32;

/** Entries in one page of a listing over the engine's socket; the caller asks for the next. */
export const SOCKET_PAGE_ENTRIES = 500;

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

/** Rows of a large row chunk of a feature table: 512 KiB of f64, read in a fraction of a millisecond. */
export const FEATURE_CHUNK_ROWS = 65_536;

/** Rows of a small row chunk: what follows the last large one, so that a table that grows writes little anew. */
export const FEATURE_SMALL_CHUNK_ROWS = 4096;

/** Rows of one feature table: 32-bit row numbers in joins, and Arrow's own offsets, end there. */
export const FEATURE_ROWS_MAX = 2 ** 31 - 1;

/** Bytes of a feature version's manifest: 16,384 columns of a hundred million rows stay below. */
export const FEATURE_MANIFEST_BYTES_MAX = 256 << 20;

/** Names and notes of where a feature table came from. */
export const FEATURE_SOURCES_MAX = 256;

/** Decoded feature tables a process keeps for its readers; the least recently used go first. */
export const FEATURE_CACHE_BYTES = 256 << 20;

/** How long a change of a state map may wait for others to be made durable with it. */
export const STATE_FLUSH_MS = 200;

/** Encoded bytes of one value, or of one update together: a record of the log has room for it. */
export const STATE_UPDATE_BYTES_MAX = 512 << 10;

/** Bytes of changes that may wait to be written: past it a put waits for nobody and is refused. */
export const STATE_PENDING_BYTES_MAX = 32 << 20;

/** Bytes of a state map's log that its history may take before the oldest of it is dropped. */
export const STATE_HISTORY_BYTES = 16 << 20;

/** Bytes a cached map may take unless told otherwise. */
export const CACHE_MAP_BYTES = 64 << 20;
