import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { Context, Hono } from "hono";
import type { Checkpoint } from "../checkpoints/checkpoint.ts";
import type { ManifestFile } from "../checkpoints/manifest-format.ts";
import { isStoreError, StoreError } from "../src/errors.ts";
import { SERVER_IMPORT_BYTES_MAX } from "../src/limits.ts";
import { checkName } from "../src/names.ts";
import { bodyPieces } from "./body.ts";
import { badRequest, bigintText, HttpFailure } from "./failure.ts";
import type { Metrics } from "./metrics.ts";
import type { ServerContext } from "./options.ts";

/** Bytes of a file read ahead of what the network has taken. */
const WINDOW_BYTES = 4 << 20;

/** Whole files: out of a version, with ranges, and into a new one. */
export function addTransferRoutes(app: Hono, { store, metrics }: ServerContext & { metrics: Metrics }): void {
  const { checkpoints } = store;

  app.get("/v1/export/*", async (c) => {
    const { selector, file: name } = exportTarget(c);
    const checkpoint = await checkpoints.open(selector);
    const file = checkpoint.file(name);
    const etag = `"${checkpoint.record.version}-${Buffer.from(checkpoint.record.manifest).toString("hex", 0, 8)}"`;
    const headers = { etag, "accept-ranges": "bytes", "content-type": "application/octet-stream" };
    const asked = c.req.header("if-range");
    const range =
      asked === undefined || asked === etag ? rangeOf(c.req.header("range"), file.sizeBytes) : undefined;
    if (range === "unsatisfiable") {
      return c.body(null, 416, { ...headers, "content-range": `bytes */${file.sizeBytes}` });
    }
    const { from, to } = range ?? { from: 0, to: file.sizeBytes };
    const length = { "content-length": String(to - from) };
    const partial = { "content-range": `bytes ${from}-${to - 1}/${file.sizeBytes}` };
    const body = to === from ? new Uint8Array(0) : readable(checkpoint, file, from, to);
    return range === undefined
      ? new Response(body, { status: 200, headers: { ...headers, ...length } })
      : new Response(body, { status: 206, headers: { ...headers, ...length, ...partial } });
  });

  app.put("/v1/import/:ref{.+}", async (c) => {
    const ref = checkName("ref", c.req.param("ref"));
    const name = c.req.query("file") ?? "model.safetensors";
    if (name === "" || name !== basename(name) || name.includes("\0") || name === "." || name === "..") {
      throw badRequest(`${JSON.stringify(name.slice(0, 100))} is no file name`);
    }
    const step = c.req.query("step");
    if (step !== undefined && !/^\d{1,15}$/.test(step)) throw badRequest("step is no whole number");
    const directory = await mkdtemp(join(tmpdir(), "varve-import-"));
    try {
      const path = join(directory, name);
      await receive(c, path);
      const options = step === undefined ? {} : { step: Number(step) };
      const saved = await checkpoints.saveFiles(ref, [path], { ...options, signal: c.req.raw.signal });
      metrics.saves.add(1);
      metrics.savedBytes.add(saved.logicalBytes, { kind: "logical" });
      metrics.savedBytes.add(saved.storedBytes, { kind: "stored" });
      return c.body(JSON.stringify(saved, bigintText), 201, { "content-type": "application/json" });
    } catch (error) {
      throw isStoreError(error) ? named(error, `${directory}/`) : error;
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
}

/** The client knows its file by the name it gave, not by the place it lay at for a moment. */
function named(error: StoreError, directory: string): StoreError {
  const { code, message, retryable, context, hint } = error;
  const more = { retryable, context, cause: error, ...(hint === undefined ? {} : { hint }) };
  return new StoreError(code, message.replaceAll(directory, ""), more);
}

/** `{ref}@{selector}/{file}`: a ref has no `@`, a selector's `/` comes escaped, and a file's name may hold anything. */
function exportTarget(c: Context): { selector: string; file: string } {
  const raw = new URL(c.req.url).pathname.slice("/v1/export/".length);
  const [, ref, selector, file] = /^([^@]+)@([^/]+)\/(.+)$/.exec(raw) ?? [];
  if (ref === undefined) throw badRequest("an export is named REF@SELECTOR/FILE");
  try {
    return {
      selector: `${decodeURIComponent(ref)}@${decodeURIComponent(selector!)}`,
      file: decodeURIComponent(file!),
    };
  } catch {
    throw badRequest("an escape that is none");
  }
}

/** One range; several, or another unit, are answered with the whole. Source: RFC 9110, section 14. */
function rangeOf(header: string | undefined, sizeBytes: number) {
  const [, first, last] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? "") ?? [];
  if (first === undefined || (first === "" && last === "")) return undefined;
  if (first === "") {
    const suffix = Math.min(Number(last), sizeBytes);
    return suffix === 0 ? "unsatisfiable" : { from: sizeBytes - suffix, to: sizeBytes };
  }
  const from = Number(first);
  const to = last === "" ? sizeBytes : Math.min(Number(last) + 1, sizeBytes);
  if (last !== "" && Number(last) < from) return undefined;
  return from >= sizeBytes ? "unsatisfiable" : { from, to };
}

/** Reads on only as the other side takes; each window is checked before any of it is sent. */
function readable(
  checkpoint: Checkpoint,
  file: ManifestFile,
  from: number,
  to: number,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const reader = checkpoint.reader(file);
  let at = from;
  return new ReadableStream(
    {
      async pull(controller) {
        const sizeBytes = Math.min(WINDOW_BYTES, to - at);
        const bytes = new Uint8Array(new SharedArrayBuffer(sizeBytes));
        await reader.read(at, sizeBytes, { bytes });
        at += sizeBytes;
        controller.enqueue(new Uint8Array(bytes));
        if (at === to) controller.close();
      },
    },
    { highWaterMark: 0 },
  );
}

/** The disk's pace is the sender's: the next piece is read when this one has been written. */
async function receive(c: Context, path: string): Promise<void> {
  const out = createWriteStream(path, { flags: "wx" });
  const failed = once(out, "error").then(([error]: unknown[]) => {
    throw error;
  });
  failed.catch(() => {});
  try {
    for await (const piece of bodyPieces(c, SERVER_IMPORT_BYTES_MAX)) {
      if (!out.write(piece)) await Promise.race([once(out, "drain"), failed]);
    }
    await Promise.race([new Promise<void>((resolve) => out.end(resolve)), failed]);
  } catch (error) {
    const full = (error as NodeJS.ErrnoException).code === "ENOSPC";
    throw full ? new HttpFailure(507, "ERR_DISK_FULL", "no space for the file on its way in") : error;
  } finally {
    out.destroy();
  }
}
