/**
 * Every error a user can meet, by a code that never changes its meaning.
 *
 * A message says what happened and where; `hint` says what to do next; `context` carries the same facts for
 * programs. Bytes from a file or a user are never asserted on: they end in one of these.
 */
export type ErrorCode =
  | "ERR_ABORTED"
  | "ERR_CLOSED"
  | "ERR_CONFLICT"
  | "ERR_DISK_FULL"
  | "ERR_EXISTS"
  | "ERR_FORMAT_NPY"
  | "ERR_FORMAT_ONNX"
  | "ERR_FORMAT_PT"
  | "ERR_FORMAT_ARROW"
  | "ERR_FORMAT_COMPRESSED"
  | "ERR_FORMAT_CSV"
  | "ERR_FORMAT_NDJSON"
  | "ERR_FORMAT_PARQUET"
  | "ERR_FORMAT_SAFETENSORS"
  | "ERR_INVALID_ARGUMENT"
  | "ERR_IO"
  | "ERR_LIMIT"
  | "ERR_NOT_FOUND"
  | "ERR_NO_STORE"
  | "ERR_POISONED"
  | "ERR_SEQUENCE_FENCED"
  | "ERR_STORE_CORRUPT"
  | "ERR_STORE_LOCKED"
  | "ERR_STORE_VERSION";

export interface StoreErrorOptions {
  /** The same call may succeed later without anything being changed (a lock, a full disk). */
  retryable?: boolean;
  /** File, offset, name, limit…: what a program needs to act on the error. */
  context?: Record<string, unknown>;
  /** What to do next, in one sentence. */
  hint?: string;
  cause?: unknown;
}

export class StoreError extends Error {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly context: Record<string, unknown>;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: StoreErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "StoreError";
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.context = options.context ?? {};
    this.hint = options.hint;
  }
}

/** A promise the code made to itself was broken: a bug in varve, never bad input. */
export class InvariantError extends Error {
  constructor(message: string) {
    super(`invariant broken: ${message}`);
    this.name = "InvariantError";
  }
}

export function isStoreError(error: unknown, code?: ErrorCode): error is StoreError {
  return error instanceof StoreError && (code === undefined || error.code === code);
}

/** An error as plain data, for a message between threads or a line of JSON. */
export interface ErrorRecord {
  code: ErrorCode;
  message: string;
  retryable: boolean;
  context: Record<string, unknown>;
  hint?: string;
}

export function toErrorRecord(error: unknown): ErrorRecord {
  if (error instanceof StoreError) {
    const { code, message, retryable, context, hint } = error;
    return hint === undefined
      ? { code, message, retryable, context }
      : { code, message, retryable, context, hint };
  }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: "ERR_IO", message, retryable: false, context: {} };
}

export function fromErrorRecord(record: ErrorRecord): StoreError {
  return new StoreError(record.code, record.message, record);
}
