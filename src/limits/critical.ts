// Bounds of critical state and its log.

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

/**
 * Bytes of one snapshot: an opening has it in a memory of 4 GiB, together with the log behind it, a row for each entry
 * and a hash table over the keys. A JavaScript map, which is where entries go that are used, ends before that.
 */
export const SNAPSHOT_BYTES_MAX = 2 ** 31;

/** Log segments, and copied records, that an opening has in that memory; a longer log is read record by record. */
export const RECOVERY_LOG_BYTES_MAX = 512 << 20;

/** Records that it has there: a hundred times what the log holds when a snapshot is due. */
export const RECOVERY_RECORDS_MAX = 4_000_000;

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

/** Space critical state reserves against a full disk: two files of history and the largest snapshot that is usual. */
export const RESERVE_BYTES_MAX = 1 << 30;
