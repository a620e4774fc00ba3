import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStore, type Store } from "../../index.ts";
import { type RunningServer, type ServeOptions, startServer } from "../../server/index.ts";

export interface Served {
  store: Store;
  url: string;
  server: RunningServer;
  directory: string;
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
  close(): Promise<void>;
}

export interface Answer {
  status: number;
  headers: Headers;
  bytes: Buffer;
  // biome-ignore lint/suspicious/noExplicitAny: answers of every shape
  json: any;
}

/** A store of its own behind a server of its own, on a free port. */
export async function serveStore(options: ServeOptions = {}): Promise<Served> {
  const directory = mkdtempSync(join(tmpdir(), "varve-served-"));
  const store = await openStore(join(directory, "store"), { create: true, workers: 0 });
  const server = await startServer(store, { port: 0, ...options });
  return {
    store,
    server,
    directory,
    url: server.url,
    async call(method, path, body, headers = {}) {
      const isBytes = body instanceof Uint8Array;
      const response = await fetch(`${server.url}${path}`, {
        method,
        headers,
        ...(body === undefined ? {} : { body: isBytes ? new Uint8Array(body) : JSON.stringify(body) }),
      });
      const bytes = Buffer.from(await response.arrayBuffer());
      const isJson = response.headers.get("content-type")?.startsWith("application/json") === true;
      return {
        status: response.status,
        headers: response.headers,
        bytes,
        json: isJson ? JSON.parse(bytes.toString()) : undefined,
      };
    },
    async close() {
      await server.close();
      await store.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

export const sha = (bytes: Uint8Array) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** A batch of chunks as it goes over the wire. */
export function batchOf(
  chunks: { digest: string; bytes: Uint8Array; dtype?: string; bases?: string[] }[],
): Buffer {
  const described = chunks.map(({ bytes, ...chunk }) => ({ ...chunk, sizeBytes: bytes.byteLength }));
  const header = Buffer.from(JSON.stringify({ chunks: described }));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(header.byteLength);
  return Buffer.concat([length, header, ...chunks.map(({ bytes }) => bytes)]);
}

/** A version of one opaque file of one chunk. */
export async function saveBytes(
  served: Served,
  ref: string,
  bytes: Uint8Array,
  headers: Record<string, string>,
) {
  await served.call("POST", "/v1/chunks", batchOf([{ digest: sha(bytes), bytes }]));
  const file = { kind: "opaque", name: "x.bin", sizeBytes: bytes.byteLength, chunks: [sha(bytes)] };
  const { json } = await served.call("POST", "/v1/manifests", { files: [file] });
  return served.call("PUT", `/v1/refs/${ref}`, { manifest: json.manifest }, headers);
}
