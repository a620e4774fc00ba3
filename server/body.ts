import { isUtf8 } from "node:buffer";
import type { Context } from "hono";
import { SERVER_JSON_BYTES_MAX, SERVER_STALL_MS } from "../src/limits.ts";
import { badRequest, HttpFailure, tooLarge } from "./failure.ts";

/** Bodies of declared length up to this are read at once, not piece by piece. */
const SMALL_BYTES = 64 << 10;

/**
 * The pieces of a request's body. A client that sends nothing for `SERVER_STALL_MS` gets 408, one that sends more
 * than allowed, or than its Content-Length said, 413.
 */
export async function* bodyPieces(context: Context, bytesMax: number): AsyncGenerator<Uint8Array> {
  const declared = contentLength(context);
  if (declared !== undefined && declared > bytesMax) throw tooLarge(bytesMax);
  const { body } = context.req.raw;
  if (body === null) return;
  const reader = body.getReader();
  let received = 0;
  try {
    for (;;) {
      const { done, value } = await withinStall(reader.read());
      if (done) break;
      received += value.byteLength;
      if (received > bytesMax) throw tooLarge(bytesMax);
      yield value;
    }
    if (declared !== undefined && received !== declared)
      throw badRequest(`a body of ${received} bytes, not ${declared}`);
  } catch (error) {
    if (error instanceof HttpFailure) throw error;
    throw badRequest("the body ended before it was whole");
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** A whole body, in memory other threads can read. */
export async function readBytes(context: Context, bytesMax: number): Promise<Uint8Array> {
  const declared = contentLength(context);
  if (declared === undefined)
    throw new HttpFailure(411, "ERR_INVALID_ARGUMENT", "this request needs a Content-Length");
  if (declared > bytesMax) throw tooLarge(bytesMax);
  const bytes = new Uint8Array(new SharedArrayBuffer(declared));
  let at = 0;
  for await (const piece of bodyPieces(context, declared)) {
    bytes.set(piece, at);
    at += piece.byteLength;
  }
  if (at !== declared) throw badRequest(`a body of ${at} bytes, not ${declared}`);
  return bytes;
}

/** A JSON object. */
export async function readJson(context: Context): Promise<Record<string, unknown>> {
  const declared = contentLength(context);
  if (declared !== undefined && declared <= SMALL_BYTES) return parseObject(await smallBody(context));
  const pieces: Uint8Array[] = [];
  for await (const piece of bodyPieces(context, SERVER_JSON_BYTES_MAX)) pieces.push(piece);
  return parseObject(Buffer.concat(pieces));
}

/**
 * A body that is whole within `SERVER_STALL_MS`. It is read in one piece: a web stream for each would take a commit
 * longer than everything else that is done for it.
 */
async function smallBody(context: Context): Promise<Uint8Array> {
  try {
    return new Uint8Array(await withinStall(context.req.raw.arrayBuffer()));
  } catch (error) {
    if (error instanceof HttpFailure) throw error;
    throw badRequest("the body ended before it was whole");
  }
}

export function parseObject(bytes: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    if (!isUtf8(bytes)) throw badRequest("the body is no UTF-8");
    value = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8"));
  } catch {
    throw badRequest("the body is no JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw badRequest("the body is no JSON object");
  return value as Record<string, unknown>;
}

function contentLength(context: Context): number | undefined {
  const text = context.req.header("content-length");
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text)) throw badRequest("a Content-Length that is no number");
  return Number(text);
}

async function withinStall<T>(step: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const stalled = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new HttpFailure(408, "ERR_ABORTED", "the body stopped coming")),
      SERVER_STALL_MS,
    );
  });
  try {
    return await Promise.race([step, stalled]);
  } finally {
    clearTimeout(timer);
  }
}
