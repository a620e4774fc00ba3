// Bounds of series, columns, features and state maps.

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

/**
 * Bytes of hot files that a process has mapped at once: what was touched of them counts as its memory. Files that
 * would take more are written.
 */
export const SERIES_MAPPED_BYTES_MAX = 32 << 20;

/** Rows of one journal record: a batch is cut into such pieces, each under one checksum. */
export const SERIES_RECORD_ROWS_MAX = 8192;

/**
 * Full segments that may wait for the budget of background writing: the one to be sealed next. With one more behind it,
 * rows come faster than the budget lets them be sealed, and memory counts for more.
 */
export const SERIES_SEALS_PACED_MAX = 1;

/** Full segments that may always wait to be sealed. */
export const SERIES_SEALS_WAITING = 16;

/**
 * Bytes of hot files that may wait to be sealed, where more segments do: small ones fill faster than one is encoded in a
 * burst. When sealing falls this far behind, appends are refused and say so.
 */
export const SERIES_SEALS_WAITING_BYTES = 64 << 20;

/** Segments that may wait whatever they hold: each holds a file open. */
export const SERIES_SEALS_WAITING_MAX = 256;

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

/** Segments read ahead of the first read of a process, so that what it runs has run before. */
export const SERIES_REHEARSAL_SEGMENTS = 8;

/** Bytes of a segment beyond which it is not read ahead: the turn that reads it stays at a millisecond or two. */
export const SERIES_REHEARSAL_SEGMENT_BYTES = 2 << 20;

/** Bars of one resampling: a year of ten-second bars; more are asked for in parts. */
export const SERIES_BARS_MAX = 4_000_000;

/** Rows of one record batch a read gives: a few megabytes at a time, whatever the range. */
export const SERIES_BATCH_ROWS = 65_536;

/** Gaps of a sequence one report lists: more say that the column is no sequence. */
export const SERIES_GAPS_MAX = 10_000;

/** Rows of a large row chunk of a feature table: 512 KiB of f64, read in a fraction of a millisecond. */
export const FEATURE_CHUNK_ROWS = 65_536;

/** Rows of a small row chunk: what follows the last large one, so that a table that grows writes little anew. */
export const FEATURE_SMALL_CHUNK_ROWS = 4096;

/** Rows of one feature table: 32-bit row numbers in joins, and Arrow's own offsets, end there. */
export const FEATURE_ROWS_MAX = 2 ** 31 - 1;

/** Bytes of a feature version's manifest: 16,384 columns of a hundred million rows stay below. */
export const FEATURE_MANIFEST_BYTES_MAX = 256 << 20;

/** Where a feature table's chunks lay when it was published: a few runs; every process keeps the version log in memory. */
export const FEATURE_PLACEMENT_BYTES_MAX = 1024;

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
