import { once } from "node:events";
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TokenTable } from "../../server/index.ts";
import { isStoreError } from "../../src/errors.ts";
import {
  CHUNK_BYTES_MAX,
  SERVER_BATCH_CHUNKS_MAX,
  SERVER_HEADER_BYTES_MAX,
  SERVER_JSON_BYTES_MAX,
} from "../../src/limits.ts";
import { batchOf, type Served, serveStore, sha } from "./served.ts";

const reader = "reader-token-0123456789";
const saver = "saver-token-0123456789";
const trader = "trader-token-0123456789";

let served: Served;
beforeAll(async () => {
  const tokens = TokenTable.parse(
    `# who\n${reader} read\n${saver} read,save # the trainer\n\n${trader} commit\n`,
  );
  served = await serveStore({ tokens });
});
afterAll(() => served.close());

const as = (token: string) => ({ authorization: `Bearer ${token}` });

/** Sends bytes as they are; resolves with all that comes back until the other side closes. */
function raw(text: string | Buffer): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(served.url).port), "127.0.0.1");
    let answer = "";
    const end = () => {
      socket.destroy();
      resolve(answer);
    };
    socket.on("data", (piece) => {
      answer += piece.toString("latin1");
    });
    socket.on("close", end);
    socket.on("error", end);
    socket.write(text);
  });
}

/** How many files this process may have open. */
function filesMax(): number {
  if (process.platform !== "linux") return Number.POSITIVE_INFINITY;
  const [, most] = /^Max open files\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"))!;
  return most === "unlimited" ? Number.POSITIVE_INFINITY : Number(most);
}

async function lives(): Promise<void> {
  expect((await served.call("GET", "/healthz")).status).toBe(200);
}

describe("tokens", () => {
  it("open what their scopes say and nothing else", async () => {
    const bytes = Buffer.from("some bytes");
    expect((await served.call("GET", "/v1/refs")).status).toBe(401);
    expect((await served.call("GET", "/v1/refs", undefined, as("wrong-token-0123456789"))).status).toBe(401);
    expect(
      (await served.call("GET", "/v1/refs", undefined, { authorization: `Basic ${reader}` })).status,
    ).toBe(401);
    expect((await served.call("GET", "/v1/refs", undefined, as(reader))).status).toBe(200);
    expect((await served.call("GET", "/metrics", undefined, as(trader))).status).toBe(403);
    expect((await served.call("PUT", `/v1/chunks/${sha(bytes)}`, bytes, as(reader))).status).toBe(403);
    expect((await served.call("PUT", `/v1/chunks/${sha(bytes)}`, bytes, as(trader))).status).toBe(403);
    expect((await served.call("PUT", `/v1/chunks/${sha(bytes)}`, bytes, as(saver))).status).toBe(201);
    await lives();
  });

  it.each([
    ["an unknown scope", `${reader} read,root`],
    ["no scope", reader],
    ["a short token", "short read"],
    ["a third word", `${reader} read save`],
    ["a token that comes twice", `${reader} read\n${reader} save`],
    ["nothing but comments", "# nobody\n"],
  ])("are refused when the file has %s, without repeating the token", (_, text) => {
    try {
      TokenTable.parse(text);
      expect.unreachable();
    } catch (error) {
      expect(isStoreError(error, "ERR_INVALID_ARGUMENT")).toBe(true);
      expect(String(error)).not.toContain(reader);
    }
  });
});

describe("without tokens", () => {
  it("an address that others can reach is refused, and browsers are on a local one", async () => {
    await expect(serveStore({ host: "0.0.0.0" })).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
    const open = await serveStore({ readOnly: true });
    try {
      expect((await open.call("GET", "/v1/refs")).status).toBe(200);
      expect((await open.call("GET", "/v1/refs", undefined, { origin: "https://example.org" })).status).toBe(
        403,
      );
      const bytes = Buffer.from("x");
      const refused = await open.call("PUT", `/v1/chunks/${sha(bytes)}`, bytes);
      expect([refused.status, refused.json.error.message]).toEqual([
        403,
        "this server was started read-only",
      ]);
      expect((await open.call("POST", "/v1/have", { digests: [] })).status).toBe(200);
    } finally {
      await open.close();
    }
  });
});

describe("bodies", () => {
  const head = (path: string, length: number, method = "POST") =>
    `${method} ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${saver}\r\ncontent-length: ${length}\r\n\r\n`;

  it("larger than their limit are refused unread", async () => {
    const put = head(`/v1/chunks/${"ab".repeat(32)}`, CHUNK_BYTES_MAX + 1, "PUT");
    expect(await raw(put)).toMatch(/^HTTP\/1.1 413 /);
    expect(await raw(head("/v1/chunks", 1e12))).toMatch(/^HTTP\/1.1 413 /);
    expect(await raw(head("/v1/manifests", 1e9))).toMatch(/^HTTP\/1.1 413 /);
    await lives();
  });

  it("that end early leave nothing behind", async () => {
    const bytes = Buffer.alloc(1000, 7);
    const batch = batchOf([{ digest: sha(bytes), bytes }]);
    const socket = connect(Number(new URL(served.url).port), "127.0.0.1");
    socket.write(Buffer.concat([Buffer.from(head("/v1/chunks", batch.byteLength)), batch.subarray(0, 600)]));
    await new Promise((resolve) => setTimeout(resolve, 100));
    socket.destroy();
    const { json } = await served.call("POST", "/v1/have", { digests: [sha(bytes)] }, as(saver));
    expect(json.missing).toEqual([0]);
    await lives();
  });

  it("of commits are held to the same rules", async () => {
    const commit = (headers: string, body = "") =>
      raw(
        `POST /v1/commit HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${trader}\r\n${headers}\r\n\r\n${body}`,
      );
    const text = JSON.stringify({ changes: [{ next: "n" }] });
    const close = "connection: close\r\n";
    expect(await commit(`${close}content-length: ${text.length}`, text)).toMatch(/^HTTP\/1.1 200 /);
    const chunked = `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`;
    expect(await commit(`${close}transfer-encoding: chunked`, chunked)).toMatch(/^HTTP\/1.1 200 /);
    expect(await commit(`content-length: ${SERVER_JSON_BYTES_MAX + 1}`)).toMatch(/^HTTP\/1.1 413 /);
    expect(await commit(`${close}content-length: 4`, "nope")).toMatch(/^HTTP\/1.1 400 /);
    expect(await commit(`${close}content-length: 2`, "\xff\xfe")).toMatch(/^HTTP\/1.1 400 /);
    const { status } = await served.call("POST", "/v1/commit", { changes: [] }, as(trader));
    expect(status).toBe(400);
    for (const [token, expected] of [
      [reader, 403],
      [saver, 403],
      ["wrong-token-0123456789", 401],
    ] as const) {
      const answer = await served.call("POST", "/v1/commit", { changes: [{ next: "n" }] }, as(token));
      expect(answer.status).toBe(expected);
    }
    await lives();
  });

  it("of commits that end early change nothing", async () => {
    const text = JSON.stringify({ changes: [{ put: { map: "m", key: "early", value: 1 } }] });
    const socket = connect(Number(new URL(served.url).port), "127.0.0.1");
    socket.on("error", () => {});
    const auth = `authorization: Bearer ${trader}`;
    socket.write(
      `POST /v1/commit HTTP/1.1\r\nhost: x\r\n${auth}\r\ncontent-length: ${text.length + 1}\r\n\r\n${text}`,
    );
    await new Promise((resolve) => setTimeout(resolve, 100));
    socket.destroy();
    await lives();
    expect((await served.call("GET", "/v1/critical/m/early", undefined, as(reader))).status).toBe(404);
  });

  it.each([1000, 100_000])("of JSON that end early, %i bytes, change nothing", async (length) => {
    const socket = connect(Number(new URL(served.url).port), "127.0.0.1");
    socket.on("error", () => {});
    socket.write(`${head("/v1/manifests", length)}{"files":`);
    await new Promise((resolve) => setTimeout(resolve, 100));
    socket.destroy();
    await lives();
  });

  it.each([64 << 10, (64 << 10) + 1])(
    "of JSON are read alike, whole at once or in pieces: %i bytes",
    async (length) => {
      const text = JSON.stringify({ digests: ["ab".repeat(32)] });
      const body = Buffer.from(text.padEnd(length));
      const { status, json } = await served.call("POST", "/v1/have", body, as(saver));
      expect([status, json.missing]).toEqual([200, [0]]);
      const nonsense = Buffer.from(`${text}x`.padEnd(length));
      expect((await served.call("POST", "/v1/have", nonsense, as(saver))).status).toBe(400);
      // The connection is as good as new.
      expect((await served.call("POST", "/v1/have", body, as(saver))).status).toBe(200);
    },
  );

  it("that stop coming end with 408, and headers that do with a closed connection", async () => {
    const [body, headers] = await Promise.all([
      raw(`${head("/v1/manifests", 1000)}{"files":`),
      raw("GET /v1/refs HTTP/1.1\r\nhost: x\r\n"),
    ]);
    expect(body).toMatch(/^HTTP\/1.1 408 /);
    expect(headers).toMatch(/^(HTTP\/1.1 408 |$)/);
    await lives();
  });

  it.each([
    ["no JSON", "/v1/have", "nonsense", 400],
    ["a JSON list", "/v1/have", "[]", 400],
    ["broken UTF-8", "/v1/have", Buffer.from([0x22, 0xff, 0x22]), 400],
    ["digests that are none", "/v1/have", '{"digests":["../../etc/passwd"]}', 400],
    ["a number for a digest", "/v1/have", '{"digests":[7]}', 400],
    ["no batch", "/v1/chunks", Buffer.from([1]), 400],
    ["a header past the batch", "/v1/chunks", Buffer.from([255, 255, 255, 255, 1]), 400],
    [
      "a batch that lies about its sizes",
      "/v1/chunks",
      Buffer.concat([
        batchOf([{ digest: sha(Buffer.from("x")), bytes: Buffer.from("x") }]),
        Buffer.from("y"),
      ]),
      400,
    ],
    ["deep JSON", "/v1/manifests", `{"files":${"[".repeat(100_000)}${"]".repeat(100_000)}}`, 400],
    ["__proto__", "/v1/manifests", '{"__proto__":{"files":[]}}', 400],
    [
      "too many digests",
      "/v1/have",
      JSON.stringify({ digests: Array(SERVER_BATCH_CHUNKS_MAX + 1).fill("x") }),
      413,
    ],
  ])("of %s are refused", async (_, path, body, status) => {
    const answer = await served.call(
      "POST",
      path,
      typeof body === "string" ? Buffer.from(body) : body,
      as(saver),
    );
    expect(answer.status).toBe(status);
    expect(answer.json.error.code).toMatch(/^ERR_/);
    await lives();
  });
});

describe("connections", () => {
  it("with giant headers are answered 431", async () => {
    const big = `GET /healthz HTTP/1.1\r\nhost: x\r\nx: ${"y".repeat(SERVER_HEADER_BYTES_MAX)}\r\n\r\n`;
    expect(await raw(big)).toMatch(/^HTTP\/1.1 431 /);
    await lives();
  });

  it("that speak something else are closed", async () => {
    for (const text of [
      "\x16\x03\x01\x02\x00\x01\x00",
      "SSH-2.0-x\r\n",
      "GET / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    ]) {
      expect(await raw(text)).toMatch(/^(HTTP\/1.1 400 |$)/);
    }
    const twice =
      "POST /v1/have HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    expect(await raw(twice)).toMatch(/^HTTP\/1.1 40/);
    await lives();
  });

  it("that are idle by the thousand do not keep others out", async () => {
    const idle: Socket[] = [];
    // Both ends of each are in this process, which may have few files open on some machines.
    const count = Math.min(2000, Math.floor((filesMax() - 500) / 2));
    for (let i = 0; i < count; i++) {
      const socket = connect(Number(new URL(served.url).port), "127.0.0.1");
      socket.on("error", () => {});
      idle.push(socket);
    }
    await Promise.all(idle.map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
    await lives();
    for (const socket of idle) socket.destroy();
  });

  it("with a request in flight are let through when the server stops, and watchers are not waited for", async () => {
    const own = await serveStore();
    const watching = await fetch(`${own.url}/v1/watch`);
    const bytes = Buffer.alloc(200_000, 9);
    const headers = { expect: "100-continue", "content-length": bytes.byteLength };
    const saving = request(`${own.url}/v1/import/last?file=x.bin`, { method: "PUT", headers });
    const answer = new Promise<number | undefined>((resolve, reject) => {
      saving.on("response", (response) => resolve(response.resume().statusCode)).on("error", reject);
    });
    saving.flushHeaders();
    // Told to go on, it is in flight.
    await once(saving, "continue");
    const closed = own.server.close();
    saving.end(bytes);
    expect(await answer).toBe(201);
    await closed;
    // Ended, not cut: a stream whose connection is destroyed would throw here.
    await watching.text();
    await own.close();
  });
});

describe("addresses", () => {
  it.each([
    ["GET", "/v1/chunks/..%2f..%2fetc%2fpasswd", 400],
    ["GET", "/v1/manifests/%00", 400],
    ["GET", "/v1/refs/%ff", 404],
    ["GET", "/../../etc/passwd", 404],
    ["GET", "/v1/export/%E0%A4%A@1/x", 400],
    ["PUT", "/v1/refs/-rf", 400],
    ["PUT", "/v1/refs/a%40b", 400],
    ["PUT", `/v1/refs/${"a".repeat(300)}`, 400],
    ["PUT", "/v1/import/..%2F..%2Fx", 400],
    ["DELETE", "/v1/refs/x", 404],
    ["GET", "/v1/watch?since=x", 400],
  ])("%s %s is answered %d", async (method, path, status) => {
    const body = method === "PUT" ? { manifest: "ab".repeat(32) } : undefined;
    const answer = await served.call(method, path, body, { ...as(saver), "if-none-match": "*" });
    expect(answer.status).toBe(status);
    await lives();
  });
});
