import type { Context, Hono } from "hono";
import { ELEMENTS } from "../checkpoints/chunk-plan.ts";
import type { OfferedChunk } from "../checkpoints/exchange.ts";
import { type DType, isDType } from "../formats/tensor.ts";
import { CHUNK_BYTES_MAX, SERVER_BATCH_BYTES_MAX, SERVER_BATCH_CHUNKS_MAX } from "../src/limits.ts";
import { parseObject, readBytes, readJson } from "./body.ts";
import { hex, parseDigest, type ShaNames, sha256, type WireDigest } from "./digests.ts";
import { badRequest, HttpFailure } from "./failure.ts";
import type { Metrics } from "./metrics.ts";
import type { ServerContext } from "./options.ts";
import type { Turns } from "./turns.ts";

/** The batch's own header: JSON of this many bytes at most, for `SERVER_BATCH_CHUNKS_MAX` small chunks with bases. */
const BATCH_HEADER_BYTES_MAX = 24 << 20;
const BASES_MAX = 4;

export interface ChunkRouteParts extends ServerContext {
  names: ShaNames;
  metrics: Metrics;
  turns: Turns;
}

interface WireChunk {
  name: WireDigest;
  offered: OfferedChunk;
}

/**
 * Chunks by digest, singly and in batches.
 *
 * A batch, in both directions: `u32 N` (little-endian), N bytes of JSON `{"chunks": [{"digest", "sizeBytes", …}]}`,
 * then the chunks' raw bytes one behind the other.
 */
export function addChunkRoutes(app: Hono, parts: ChunkRouteParts): void {
  const { store, names, metrics, turns } = parts;
  const { exchange } = store.checkpoints;

  app.post("/v1/have", async (c) => {
    const body = await readJson(c);
    const digests = listOf(body["digests"], "digests").map(parseDigest);
    exchange.refresh();
    const like = body["like"];
    if (like !== undefined && digests.some(({ algorithm }) => algorithm === "sha256")) {
      const newest = store.checkpoints.registry.newest(String(like));
      if (newest !== undefined) await turns.take(() => names.learn(newest.manifest));
    }
    const missing = digests.flatMap((digest, i) => (names.resolve(digest) === undefined ? [i] : []));
    return c.json({ missing });
  });

  app.put("/v1/chunks/:digest", (c) =>
    turns.take(async () => {
      const name = parseDigest(c.req.param("digest"));
      const bytes = await readBytes(c, CHUNK_BYTES_MAX);
      const offered = offerOf(
        { dtype: c.req.query("dtype"), bases: c.req.queries("base") ?? [] },
        bytes.byteLength,
      );
      const [digest] = await put(bytes, [{ name, offered }]);
      return c.json({ digest: hex(digest!), sizeBytes: bytes.byteLength }, 201);
    }),
  );

  app.post("/v1/chunks", (c) =>
    turns.take(async () => {
      const body = await readBytes(c, SERVER_BATCH_BYTES_MAX + BATCH_HEADER_BYTES_MAX);
      const { header, raw } = splitBatch(body);
      const chunks = listOf(header["chunks"], "chunks").map(readWireChunk);
      const total = chunks.reduce((sum, { offered }) => sum + offered.rawBytes, 0);
      if (total !== raw.byteLength)
        throw badRequest(`chunks of ${total} bytes in a batch of ${raw.byteLength}`);
      const digests = await put(raw, chunks);
      return c.json({ digests: digests.map(hex) }, 201);
    }),
  );

  /** Checks the names that are SHA-256 here, the others where the chunks are hashed anyway. */
  async function put(bytes: Uint8Array, chunks: WireChunk[]): Promise<Uint8Array[]> {
    let at = 0;
    for (const [i, { name, offered }] of chunks.entries()) {
      const end = at + offered.rawBytes;
      if (name.algorithm === "blake3") offered.digest = name.bytes;
      else if (!sha256(bytes.subarray(at, end)).equals(name.bytes)) throw mismatch(name, i);
      at = end;
      if ((i & 3) === 3) await new Promise((resolve) => setImmediate(resolve));
    }
    const started = performance.now();
    const digests = await exchange.put(
      bytes,
      chunks.map((chunk) => chunk.offered),
    );
    metrics.putSeconds.observe((performance.now() - started) / 1000);
    metrics.chunkBytes.add(bytes.byteLength, { direction: "in" });
    for (const [i, { name }] of chunks.entries()) {
      if (name.algorithm === "sha256") names.remember(name.bytes, digests[i]!);
    }
    return digests;
  }

  app.get("/v1/chunks/:digest", (c) =>
    turns.take(async () => {
      const digest = requireChunk(names, c.req.param("digest"));
      const { bytes } = await exchange.get([digest]);
      metrics.chunkBytes.add(bytes.byteLength, { direction: "out" });
      // A chunk never changes under its name.
      const headers = {
        "content-type": "application/octet-stream",
        "cache-control": "private, max-age=31536000, immutable",
      };
      return c.body(ownBytes(bytes), 200, { ...headers, etag: `"${hex(digest)}"` });
    }),
  );

  app.post("/v1/chunks/get", (c) => turns.take(() => getBatch(c)));

  async function getBatch(c: Context): Promise<Response> {
    const body = await readJson(c);
    exchange.refresh();
    const digests = listOf(body["digests"], "digests").map((text) => requireChunk(names, text));
    const total = digests.reduce((sum, digest) => sum + (exchange.sizeOf(digest) ?? 0), 0);
    if (total > SERVER_BATCH_BYTES_MAX) {
      throw new HttpFailure(
        413,
        "ERR_LIMIT",
        `chunks of ${total} bytes; at most ${SERVER_BATCH_BYTES_MAX} a request`,
      );
    }
    const { bytes, sizes } = await exchange.get(digests);
    const chunks: Record<string, unknown>[] = [];
    let at = 0;
    for (const [i, size] of sizes.entries()) {
      // The client checks what it got, and knows these chunks by this name when it saves.
      const sha = sha256(bytes.subarray(at, at + size));
      names.remember(sha, digests[i]!);
      chunks.push({ digest: hex(digests[i]!), sizeBytes: size, sha256: sha.toString("hex") });
      at += size;
      if ((i & 3) === 3) await new Promise((resolve) => setImmediate(resolve));
    }
    metrics.chunkBytes.add(bytes.byteLength, { direction: "out" });
    const header = Buffer.from(JSON.stringify({ chunks }));
    const answer = new Uint8Array(4 + header.byteLength + bytes.byteLength);
    new DataView(answer.buffer).setUint32(0, header.byteLength, true);
    answer.set(header, 4);
    answer.set(bytes, 4 + header.byteLength);
    return c.body(answer, 200, { "content-type": "application/octet-stream" });
  }
}

function readWireChunk(value: unknown): WireChunk {
  const chunk = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  const sizeBytes = chunk["sizeBytes"];
  if (
    typeof sizeBytes !== "number" ||
    !Number.isSafeInteger(sizeBytes) ||
    sizeBytes < 1 ||
    sizeBytes > CHUNK_BYTES_MAX
  ) {
    throw badRequest(`a chunk has 1 to ${CHUNK_BYTES_MAX} bytes`);
  }
  const bases = chunk["bases"] === undefined ? [] : listOf(chunk["bases"], "bases");
  return {
    name: parseDigest(chunk["digest"]),
    offered: offerOf({ dtype: chunk["dtype"], bases }, sizeBytes),
  };
}

function offerOf({ dtype, bases }: { dtype: unknown; bases: unknown[] }, rawBytes: number): OfferedChunk {
  if (rawBytes < 1) throw badRequest("a chunk has at least one byte");
  if (dtype !== undefined && !(typeof dtype === "string" && isDType(dtype)))
    throw badRequest("an unknown dtype");
  if (bases.length > BASES_MAX) throw badRequest(`more than ${BASES_MAX} bases`);
  const digests = bases.map((text) => {
    const { algorithm, bytes } = parseDigest(text);
    if (algorithm !== "blake3") throw badRequest("a base goes by its name in the store");
    return bytes;
  });
  return { rawBytes, element: dtype === undefined ? "bytes" : ELEMENTS[dtype as DType], bases: digests };
}

function splitBatch(body: Uint8Array): { header: Record<string, unknown>; raw: Uint8Array } {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const headerBytes = body.byteLength < 4 ? 0 : view.getUint32(0, true);
  if (headerBytes < 2 || headerBytes > BATCH_HEADER_BYTES_MAX || 4 + headerBytes > body.byteLength) {
    throw badRequest("a batch begins with the length of its header");
  }
  // Text is decoded from memory of its own: shared memory could change while it is read.
  return { header: parseObject(body.slice(4, 4 + headerBytes)), raw: body.subarray(4 + headerBytes) };
}

function requireChunk(names: ShaNames, text: unknown): Uint8Array {
  const digest = names.resolve(parseDigest(text));
  if (digest === undefined) throw new HttpFailure(404, "ERR_NOT_FOUND", `there is no chunk ${String(text)}`);
  return digest;
}

function listOf(value: unknown, name: string): unknown[] {
  if (!Array.isArray(value)) throw badRequest(`${name} is no list`);
  if (value.length > SERVER_BATCH_CHUNKS_MAX) {
    throw new HttpFailure(413, "ERR_LIMIT", `more than ${SERVER_BATCH_CHUNKS_MAX} ${name}`);
  }
  return value;
}

function mismatch(name: WireDigest, place: number): HttpFailure {
  const message = `the bytes of chunk ${place} are not those of ${name.algorithm}:${hex(name.bytes)}; nothing was stored`;
  return new HttpFailure(422, "ERR_CONFLICT", message);
}

/** A response takes memory that no one else can write. */
function ownBytes(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}
