// Bounds of the server and of served models.

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

/** Bytes of an ONNX model that is served: a session takes the model in one piece. */
export const MODEL_BYTES_MAX = 2 ** 31 - 1;

/** Bytes of the rows that one request appends to a series: more is several requests. */
export const SERVER_APPEND_BYTES_MAX = 64 << 20;

/** Tables of metadata in a stream that is appended over HTTP: about 50,000 batches, checked in tens of milliseconds. */
export const SERVER_ARROW_TABLES_MAX = 131_072;

/** The same of a stream that is appended over HTTP, in all: a short body must not ask for gigabytes. */
export const SERVER_EXPANDED_BYTES_MAX = 128 << 20;

/** Rows that one request appends: what the server's thread takes for them stays under a second or so. */
export const SERVER_APPEND_ROWS_MAX = 1 << 20;

/** Bytes of one file, or tensor, of external data that is served: what one buffer can hold. */
export const MODEL_EXTERNAL_BYTES_MAX = 2 ** 32;
