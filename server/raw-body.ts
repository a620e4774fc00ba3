import type { IncomingMessage } from "node:http";
import { SERVER_JSON_BYTES_MAX, SERVER_STALL_MS } from "../src/limits.ts";
import { badRequest, HttpFailure, tooLarge } from "./failure.ts";

/**
 * A request's whole body, without the streams of the web between: for a commit these take longer than everything else
 * that is done for it. The rules are those of `bodyPieces`: 408 for one that stops coming, 413 for one too large.
 */
export function readRawBody(request: IncomingMessage): Promise<Buffer> {
  const declared = contentLength(request.headers["content-length"]);
  if (declared !== undefined && declared > SERVER_JSON_BYTES_MAX)
    return Promise.reject(tooLarge(SERVER_JSON_BYTES_MAX));
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let received = 0;
    const timer = setTimeout(
      () => fail(new HttpFailure(408, "ERR_ABORTED", "the body stopped coming")),
      SERVER_STALL_MS,
    );
    const fail = (error: HttpFailure) => {
      clearTimeout(timer);
      request.removeAllListeners("data");
      reject(error);
    };
    request.on("data", (piece: Buffer) => {
      timer.refresh();
      received += piece.byteLength;
      if (received > SERVER_JSON_BYTES_MAX) fail(tooLarge(SERVER_JSON_BYTES_MAX));
      else pieces.push(piece);
    });
    request.on("end", () => {
      clearTimeout(timer);
      resolve(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces, received));
    });
    request.on("error", () => fail(badRequest("the body ended before it was whole")));
    request.on("close", () => {
      if (!request.complete) fail(badRequest("the body ended before it was whole"));
    });
  });
}

/** @throws HttpFailure 400 for a header that is no number */
function contentLength(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text)) throw badRequest("a Content-Length that is no number");
  return Number(text);
}
