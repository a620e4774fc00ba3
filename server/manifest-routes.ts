import type { Hono } from "hono";
import {
  FILE_KINDS,
  type FileKind,
  type Manifest,
  type ManifestFile,
} from "../checkpoints/manifest-format.ts";
import type { TensorSpan } from "../formats/layout.ts";
import { isDType, tensorSizeBytes } from "../formats/tensor.ts";
import { readJson } from "./body.ts";
import { hex, parseDigest, type ShaNames } from "./digests.ts";
import { badRequest } from "./failure.ts";
import type { ServerContext } from "./options.ts";

const NAME_CHARACTERS_MAX = 4096;

/** Manifests: what a version consists of, as JSON. */
export function addManifestRoutes(app: Hono, { store, names }: ServerContext & { names: ShaNames }): void {
  const { exchange } = store.checkpoints;

  app.get("/v1/manifests/:digest", (c) => {
    const { bytes } = parseDigest(c.req.param("digest"));
    exchange.refresh();
    return c.json({ manifest: hex(bytes), files: describe(exchange.manifest(bytes)) });
  });

  app.post("/v1/manifests", async (c) => {
    const body = await readJson(c);
    const files = objects(body["files"], "files");
    exchange.refresh();
    const missing: string[] = [];
    const read = files.map((file) =>
      readFile(file, (text) => {
        const digest = names.resolve(parseDigest(text));
        if (digest === undefined) missing.push(String(text));
        return digest;
      }),
    );
    if (missing.length > 0) return c.json(missingAnswer(missing), 409);
    const parent = body["parent"] === undefined ? undefined : parseDigest(body["parent"]).bytes;
    const sized = read.map((file) => ({
      ...file,
      chunks: file.chunks.map((chunk) => ({ ...chunk, rawBytes: exchange.sizeOf(chunk.digest) ?? 0 })),
    }));
    const result = await exchange.putManifest(sized, parent);
    if ("missing" in result) return c.json(missingAnswer(result.missing.map(hex)), 409);
    return c.json({ manifest: hex(result.manifest) }, 201);
  });
}

export function missingAnswer(missing: string[]) {
  const message = `${missing.length} chunks are missing: put them, then try again`;
  return { error: { code: "ERR_CONFLICT", message, retryable: true, context: {} }, missing };
}

function describe({ files }: Manifest) {
  return files.map(({ kind, name, sizeBytes, layout, chunks }) => ({
    kind,
    name,
    sizeBytes,
    ...(layout === undefined
      ? {}
      : {
          format: layout.format,
          ...(layout.familiesTogether ? { familiesTogether: true } : {}),
          tensors: layout.spans.map((span) => ({
            name: span.name,
            dtype: span.dtype,
            shape: span.shape,
            offset: span.offset,
          })),
        }),
    chunks: chunks.map(({ digest, rawBytes }) => ({ digest: hex(digest), sizeBytes: rawBytes })),
  }));
}

type Resolve = (text: unknown) => Uint8Array | undefined;

/** Sizes of chunks are the store's, so only their names come with the request. */
function readFile(file: Record<string, unknown>, resolve: Resolve): ManifestFile {
  const { kind, sizeBytes, format, tensors } = file;
  if (!(FILE_KINDS as readonly unknown[]).includes(kind)) throw badRequest("a file of an unknown kind");
  const name = kind === "resume" ? "" : text(file["name"], "a file's name");
  const chunks = list(file["chunks"], "chunks").flatMap((digest) => {
    const found = resolve(digest);
    return found === undefined ? [] : [{ digest: found, rawBytes: 0 }];
  });
  const base = { kind: kind as FileKind, name, sizeBytes: whole(sizeBytes, "sizeBytes"), chunks };
  if (kind !== "tensors") return base;
  const spans = objects(tensors, "tensors").map(readSpan);
  const together = file["familiesTogether"] === true ? { familiesTogether: true } : {};
  return { ...base, layout: { format: text(format, "format"), spans, ...together } };
}

function readSpan({ name, dtype, shape, offset }: Record<string, unknown>): TensorSpan {
  if (typeof dtype !== "string" || !isDType(dtype)) throw badRequest("a tensor of an unknown dtype");
  const axes = list(shape, "shape").map((axis) => whole(axis, "an axis"));
  const tensor = text(name, "a tensor's name");
  const sizeBytes = tensorSizeBytes(dtype, axes, tensor);
  return { name: tensor, dtype, shape: axes, offset: whole(offset, "offset"), sizeBytes };
}

function text(value: unknown, what: string): string {
  if (typeof value !== "string" || value.length > NAME_CHARACTERS_MAX || /\p{Surrogate}/u.test(value)) {
    throw badRequest(`${what} is no text of at most ${NAME_CHARACTERS_MAX} characters`);
  }
  return value;
}

function whole(value: unknown, what: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0)
    throw badRequest(`${what} is no whole number`);
  return value;
}

function list(value: unknown, what: string): unknown[] {
  if (!Array.isArray(value)) throw badRequest(`${what} is no list`);
  return value;
}

function objects(value: unknown, what: string): Record<string, unknown>[] {
  return list(value, what).map((item) => {
    if (typeof item !== "object" || item === null || Array.isArray(item))
      throw badRequest(`${what} holds no objects`);
    return item as Record<string, unknown>;
  });
}
