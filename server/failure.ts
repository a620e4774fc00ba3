import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { type ErrorCode, isStoreError, type StoreError, toErrorRecord } from "../src/errors.ts";

/** An answer that is no success, with headers and fields of its own. */
export class HttpFailure extends Error {
  readonly status: ContentfulStatusCode;
  readonly code: string;
  readonly fields: Record<string, unknown>;
  readonly headers: Record<string, string>;

  constructor(
    status: ContentfulStatusCode,
    code: string,
    message: string,
    more: { fields?: Record<string, unknown>; headers?: Record<string, string> } = {},
  ) {
    super(message);
    this.name = "HttpFailure";
    this.status = status;
    this.code = code;
    this.fields = more.fields ?? {};
    this.headers = more.headers ?? {};
  }
}

const STATUS: Partial<Record<ErrorCode, ContentfulStatusCode>> = {
  ERR_ABORTED: 400,
  ERR_CLOSED: 503,
  ERR_CONFLICT: 409,
  ERR_DISK_FULL: 507,
  ERR_EXISTS: 409,
  ERR_FORMAT_ARROW: 422,
  ERR_FORMAT_NPY: 422,
  ERR_FORMAT_ONNX: 422,
  ERR_FORMAT_PT: 422,
  ERR_FORMAT_SAFETENSORS: 422,
  ERR_INVALID_ARGUMENT: 400,
  ERR_LIMIT: 413,
  ERR_NOT_FOUND: 404,
  ERR_NO_STORE: 503,
  ERR_POISONED: 503,
  ERR_STORE_LOCKED: 503,
};

/** An answer that says what went wrong, before any HTTP library has it. */
export interface FailureAnswer {
  status: ContentfulStatusCode;
  headers: Record<string, string>;
  body: Record<string, unknown>;
}

/** `{"error": {"code", "message", "retryable", "context", "hint"}}` under the status that says the same to a proxy. */
export function failureAnswer(error: unknown): FailureAnswer {
  if (error instanceof HttpFailure) {
    const { status, code, message, fields, headers } = error;
    const body = { error: { code, message, retryable: status === 503, context: {} }, ...fields };
    return { status, headers, body };
  }
  if (!isStoreError(error)) {
    // What went wrong inside is for the log, not for whoever asked.
    const body = { error: { code: "ERR_IO", message: "the server failed", retryable: false, context: {} } };
    return { status: 500, headers: {}, body };
  }
  const reason = error.context["reason"];
  const status = reason === "digest" ? 422 : (STATUS[error.code] ?? 500);
  return { status, headers: {}, body: { error: safeRecord(error) } };
}

export function failureResponse(context: Context, error: unknown): Response {
  const { status, headers, body } = failureAnswer(error);
  return context.json(body, status, headers);
}

/** Paths on the server's disk stay there. */
function safeRecord(error: StoreError) {
  const record = toErrorRecord(error);
  const context = Object.fromEntries(
    Object.entries(record.context).filter(([key]) => !/^(path|paths|directory|cause)$/.test(key)),
  );
  return { ...record, context: JSON.parse(JSON.stringify(context, bigintText)) as Record<string, unknown> };
}

export function bigintText(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? value.toString() : value;
}

export function badRequest(message: string): HttpFailure {
  return new HttpFailure(400, "ERR_INVALID_ARGUMENT", message);
}

export function tooLarge(bytesMax: number): HttpFailure {
  // The rest of the body is not read: the connection cannot be used again.
  return new HttpFailure(413, "ERR_LIMIT", `a body of more than ${bytesMax} bytes`, {
    headers: { connection: "close" },
  });
}
