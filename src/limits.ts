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
 * Patches (rows that a learner named) one after another on one chunk: each is as cheap to apply as it is small, and a
 * frame's depth is one byte.
 */
export const PATCH_DEPTH_MAX = 255;

/** From this many on, chunks begin to start over, each at its own number, so that no save has to store all of them. */
export const PATCH_DEPTH_SPREAD = 205;

/** A save of named rows that holds more than this stores its chunks whole instead. */
export const TOUCHED_BYTES_MAX = 64 << 20;

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

/**
 * Chunks of one version that a replayed chunk may need in a row: a weight needs the average of squares, that one the
 * average of gradients. Each makes the chain of bases longer.
 */
export const REPLAY_LEVELS_MAX = 3;

/** What recompression may read and write in a second: background writing that a trading day's disk does not notice. */
export const RECOMPRESS_BYTES_PER_SECOND = 10_000_000;

/** Chunks recompressed under one taking of the saves' lock: a few MB, so that gc waits for less than a second. */
export const RECOMPRESS_BATCH_CHUNKS = 16;

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

/**
 * A save of at least so many raw bytes is written around the page cache: its pages would push out everything else, and
 * finding them takes longer than the device does. Smaller models stay in the cache, where the next start finds them.
 */
export const ASIDE_BYTES_MIN = 256 << 20;

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

/** Bytes of one JSON body to the server: the manifest of a model of 500 GB. */
export const SERVER_JSON_BYTES_MAX = 64 << 20;

/** Bytes of one batch of chunks, either way: a second's worth on a fast network, and few in memory at once. */
export const SERVER_BATCH_BYTES_MAX = 32 << 20;

/** Chunks in one batch, and digests in one question: small chunks share a request, a request's work stays short. */
export const SERVER_BATCH_CHUNKS_MAX = 65_536;

/** Bytes of one request's headers: tokens and selectors are short. Node.js answers 431 past it. */
export const SERVER_HEADER_BYTES_MAX = 16 << 10;

/** Connections at once; one past it is closed at once. Idle ones cost about 10 KB each. */
export const SERVER_CONNECTIONS_MAX = 8192;

/** Bodies being received or answered from memory at once: with the batch limit, 256 MiB. Others wait, unread. */
export const SERVER_BODIES_MAX = 8;

/** Requests that may wait for their turn before the server answers 503. */
export const SERVER_WAITING_MAX = 256;

/** Time for a request's headers, and between two pieces of its body: slower clients only hold what others need. */
export const SERVER_STALL_MS = 15_000;

/** Time that requests in flight get when the server is told to stop. */
export const SERVER_SHUTDOWN_MS = 10_000;

/** Bytes of a file that is imported in one request. */
export const SERVER_IMPORT_BYTES_MAX = 1024 ** 4;

/** Names of raw SHA-256 digests for chunks that the server remembers: about 200 bytes each. */
export const SERVER_ALIASES_MAX = 262_144;

/** Watchers at once: each is a connection that stays. */
export const SERVER_WATCHERS_MAX = 1024;

/** Columns of one series: a book of fifty levels has two hundred; more belong in a list or in several series. */
export const SERIES_COLUMNS_MAX = 1024;

/** Numbers in one row of a fixed-size list: an embedding fits, and a row stays under `SERIES_ROW_BYTES_MAX`. */
export const SERIES_LIST_SIZE_MAX = 65_536;

/** Encoded bytes of one row: what one journal record holds of it; larger values belong in a checkpoint. */
export const SERIES_ROW_BYTES_MAX = 1 << 20;

/** Rows of one hot segment: what sealing one holds in memory at once. */
export const SERIES_SEGMENT_ROWS_MAX = 1 << 22;

/** Rows of a segment unless told otherwise: tables of the codecs are paid once for many rows, a seal takes tenths of a second. */
export const SERIES_SEGMENT_ROWS = 1 << 17;

/** Bytes of one hot file: a segment of wide rows is sealed before its rows are full. */
export const SERIES_HOT_BYTES_MAX = 128 << 20;

/** Rows of one journal record: a batch is cut into such pieces, each under one checksum. */
export const SERIES_RECORD_ROWS_MAX = 8192;

/** Full segments that may wait to be sealed: when sealing falls this far behind, appends are refused and say so. */
export const SERIES_SEALS_WAITING_MAX = 16;

/** Series open in one store at once: each holds two files and at least one page a column. */
export const SERIES_OPEN_MAX = 4096;

/** Rows waiting in the window of a series that sorts: bounds memory when a feed's clock runs backwards. */
export const SERIES_WINDOW_ROWS_MAX = 65_536;

/** Rows of the newest key kept to recognize duplicates: more in one instant are taken as new. */
export const SERIES_DUPLICATES_MAX = 4096;

/** Decoded bytes that reads of one store keep for the next: as-of reads hit the same blocks again and again. */
export const SERIES_CACHE_BYTES = 16 << 20;

/** Sealed segments a store keeps open for reads: each holds a file and its encoded columns as far as they were read. */
export const SERIES_OPEN_SEGMENTS_MAX = 32;

/** Bars of one resampling: a year of ten-second bars; more are asked for in parts. */
export const SERIES_BARS_MAX = 4_000_000;

/** Rows of one record batch a read gives: a few megabytes at a time, whatever the range. */
export const SERIES_BATCH_ROWS = 65_536;

/** Gaps of a sequence one report lists: more say that the column is no sequence. */
export const SERIES_GAPS_MAX = 10_000;

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

/** Captured bytes that wait in memory for the encoder, by default: with it the whole overhead stays under 100 MB. */
export const STAGING_BYTES = 64 << 20;

/** Most staging memory: one WebAssembly memory holds 4 GiB. */
export const STAGING_BYTES_MAX = 4095 * (1 << 20);

/** Captured bytes that may wait in scratch files, by default: two saves of a gigabyte. */
export const SPOOL_BYTES = 2 * (1 << 30);

/** Saves captured and not yet durable at once: bounds what a loop of tiny saves piles up. */
export const CAPTURES_MAX = 64;

/** One shared memory of allocated tensors: a WebAssembly memory holds 4 GiB, less one page of 64 KiB. */
export const SHARED_MEMORY_BYTES_MAX = 65_535 * 65_536;

/** Bytes of an image's tables and checksums: the widest tables of the largest models, and 4 bytes a MiB. */
export const IMAGE_HEAD_BYTES_MAX = 256 << 20;

/** Bytes a second of background writing, by default: what an average disk takes for years. */
export const IO_BUDGET_BYTES_PER_SECOND = 10_000_000;

/** Space critical state reserves against a full disk: two files of history and the largest snapshot that is usual. */
export const RESERVE_BYTES_MAX = 1 << 30;

/** Rows an import may sort: it holds all of them in memory, and twice while it orders them. */
export const SERIES_SORT_ROWS_MAX = 20_000_000;

/** Rows a recipe may look back: a week of minutes. A window costs its length a row, so this bounds what decoding takes. */
export const RECIPE_ROWS_MAX = 10_080;

/**
 * Recipes that follow one from the other: with the eight columns that sources may hang on, a reader stays well within
 * `COLUMN_CHAIN_MAX`.
 */
export const RECIPE_CHAIN_MAX = 24;

/** Bytes of a series' recipes as JSON: three long names for each of its columns. */
export const SERIES_RECIPES_BYTES_MAX = 1 << 20;

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

/** Columns that one column may be stored against: an encoder takes a handful; bounds what a header can name. */
export const COLUMN_DEPENDENCIES_MAX = 255;

/** Columns stored one against the other in a chain, when read: twice what an encoder makes of them. */
export const COLUMN_CHAIN_MAX = 40;

/** Bytes of text or binary in one column of a segment: what Arrow's 32-bit offsets reach. */
export const COLUMN_TEXT_BYTES_MAX = 2 ** 31 - 1;

/** Decoded columns a decoder keeps for those that follow from them by recipes. */
export const COLUMN_KEPT_BYTES = 16 << 20;
/** Inferences that may wait for one model: past it the caller is faster than the model, and memory would grow. */
export const MODEL_RUNS_MAX = 1024;

/** Bytes of an ONNX model that is served: a session takes the model in one piece. */
export const MODEL_BYTES_MAX = 2 ** 31 - 1;

/** Bytes of the rows that one request appends to a series: more is several requests. */
export const SERVER_APPEND_BYTES_MAX = 64 << 20;

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

/** Tables of metadata in a stream that is appended over HTTP: about 50,000 batches, checked in tens of milliseconds. */
export const SERVER_ARROW_TABLES_MAX = 131_072;

/** The same of a stream that is appended over HTTP, in all: a short body must not ask for gigabytes. */
export const SERVER_EXPANDED_BYTES_MAX = 128 << 20;

/** Rows that one request appends: what the server's thread takes for them stays under a second or so. */
export const SERVER_APPEND_ROWS_MAX = 1 << 20;

/**
 * A smaller initializer of a skeleton stays in the model: shapes and axes are such, and the runtime looks at their
 * values before it takes external data.
 */
export const ONNX_EXTERNAL_BYTES_MIN = 4096;

/** Bytes of one file, or tensor, of external data that is served: what one buffer can hold. */
export const MODEL_EXTERNAL_BYTES_MAX = 2 ** 32;
