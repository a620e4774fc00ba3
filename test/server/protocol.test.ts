import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { batchOf, type Served, saveBytes, serveStore, sha } from "./served.ts";

const bytesOf = (seed: number, length = 5000) =>
  Uint8Array.from({ length }, (_, i) => (i * seed + (i >> 4)) & 255);

let served: Served;
beforeAll(async () => {
  served = await serveStore();
});
afterAll(() => served.close());

describe("chunks", () => {
  it("are stored and read back by SHA-256 and by BLAKE3, and only asked for when they are missing", async () => {
    const [a, b] = [bytesOf(3), bytesOf(5)];
    expect((await served.call("POST", "/v1/have", { digests: [sha(a), sha(b)] })).json).toEqual({
      missing: [0, 1],
    });
    const stored = await served.call("PUT", `/v1/chunks/${sha(a)}`, a);
    expect(stored.status).toBe(201);
    expect(
      (await served.call("POST", "/v1/have", { digests: [sha(a), sha(b), stored.json.digest] })).json,
    ).toEqual({
      missing: [1],
    });
    const again = await served.call("GET", `/v1/chunks/${stored.json.digest}`);
    expect(again.bytes).toEqual(Buffer.from(a));
  });

  it("travel in batches both ways", async () => {
    const [a, b] = [bytesOf(7), bytesOf(9, 70_000)];
    const { json, status } = await served.call(
      "POST",
      "/v1/chunks",
      batchOf([
        { digest: sha(a), bytes: a },
        { digest: sha(b), bytes: b, dtype: "U8" },
      ]),
    );
    expect(status).toBe(201);
    const got = await served.call("POST", "/v1/chunks/get", { digests: [...json.digests].reverse() });
    const headerBytes = got.bytes.readUInt32LE(0);
    const { chunks } = JSON.parse(got.bytes.toString("utf8", 4, 4 + headerBytes));
    expect(chunks.map((chunk: { sha256: string }) => `sha256:${chunk.sha256}`)).toEqual([sha(b), sha(a)]);
    expect(got.bytes.subarray(4 + headerBytes)).toEqual(Buffer.concat([b, a]));
  });

  it("of other bytes than their digest says are refused with 422, and their whole batch with them", async () => {
    const [good, bad] = [bytesOf(11), bytesOf(13)];
    for (const wrong of [sha(good), "ab".repeat(32)]) {
      const batch = batchOf([
        { digest: sha(bytesOf(17)), bytes: bytesOf(17) },
        { digest: wrong, bytes: bad },
      ]);
      expect((await served.call("POST", "/v1/chunks", batch)).status).toBe(422);
    }
    const missing = await served.call("POST", "/v1/have", { digests: [sha(bytesOf(17)), sha(bad)] });
    expect(missing.json.missing).toEqual([0, 1]);
  });

  it("are stored against the chunks they resemble, when the client names them", async () => {
    const before = new Float32Array(65_536).map((_, i) => Math.sin(i));
    const after = before.map((value, i) => (i % 50 === 0 ? value + 1e-6 : value));
    const [a, b] = [new Uint8Array(before.buffer), new Uint8Array(after.buffer)];
    const first = await served.call(
      "POST",
      "/v1/chunks",
      batchOf([{ digest: sha(a), bytes: a, dtype: "F32" }]),
    );
    const size = async () => (await served.store.stats()).diskBytes;
    const sizeBefore = await size();
    const bases = [first.json.digests[0]];
    await served.call("POST", "/v1/chunks", batchOf([{ digest: sha(b), bytes: b, dtype: "F32", bases }]));
    expect((await size()) - sizeBefore).toBeLessThan(b.byteLength / 8);
    const got = await served.call("GET", `/v1/chunks/${sha(b)}`);
    expect(got.bytes).toEqual(Buffer.from(b));
  });
});

describe("manifests", () => {
  it("that list chunks the store lacks are refused with 409 and the list of those", async () => {
    const there = bytesOf(19);
    await served.call("PUT", `/v1/chunks/${sha(there)}`, there);
    const file = { kind: "opaque", name: "x", sizeBytes: 10_000, chunks: [sha(there), sha(bytesOf(23))] };
    const { status, json } = await served.call("POST", "/v1/manifests", { files: [file] });
    expect([status, json.missing]).toEqual([409, [sha(bytesOf(23))]]);
  });

  it("that contradict themselves are refused with 400", async () => {
    const there = bytesOf(29);
    await served.call("PUT", `/v1/chunks/${sha(there)}`, there);
    const chunks = [sha(there)];
    const tensor = { name: "w", dtype: "F32", shape: [2], offset: 0 };
    for (const file of [
      { kind: "opaque", name: "x", sizeBytes: 4999, chunks },
      { kind: "opaque", name: "x", sizeBytes: -1, chunks },
      { kind: "other", name: "x", sizeBytes: 5000, chunks },
      { kind: "tensors", name: "x", sizeBytes: 5000, chunks, format: "safetensors", tensors: [tensor] },
      {
        kind: "tensors",
        name: "x",
        sizeBytes: 5000,
        chunks,
        format: "x",
        tensors: [{ ...tensor, dtype: "F33" }],
      },
      {
        kind: "tensors",
        name: "x",
        sizeBytes: 5000,
        chunks,
        format: "x",
        tensors: [{ ...tensor, shape: [-1] }],
      },
      { kind: "opaque", name: "x", sizeBytes: 5000, chunks, tensors: 1, layout: 1 },
    ].slice(0, 6)) {
      expect(
        (await served.call("POST", "/v1/manifests", { files: [file] })).status,
        JSON.stringify(file),
      ).toBe(400);
    }
  });
});

describe("refs", () => {
  it("move under If-Match and If-None-Match alone: 428 without, 412 with the version that is there", async () => {
    expect((await saveBytes(served, "moving", bytesOf(31), {})).status).toBe(428);
    const first = await saveBytes(served, "moving", bytesOf(31), { "if-none-match": "*" });
    expect([first.status, first.headers.get("etag"), first.json.version]).toEqual([201, '"1"', 1]);
    const again = await saveBytes(served, "moving", bytesOf(37), { "if-none-match": "*" });
    expect([again.status, again.json.current.version]).toEqual([412, 1]);
    const second = await saveBytes(served, "moving", bytesOf(37), { "if-match": '"1"' });
    expect([second.status, second.json.parent]).toEqual([200, { ref: "moving", version: 1 }]);
    const stale = await saveBytes(served, "moving", bytesOf(41), { "if-match": '"1"' });
    expect([stale.status, stale.headers.get("etag"), stale.json.current.version]).toEqual([412, '"2"', 2]);
    expect((await saveBytes(served, "never", bytesOf(41), { "if-match": "*" })).status).toBe(412);
    const read = await served.call("GET", "/v1/refs/moving?at=1");
    expect([read.json.version, read.headers.get("etag")]).toEqual([1, '"1"']);
    expect((await served.call("GET", "/v1/refs/moving", undefined, { "if-none-match": '"2"' })).status).toBe(
      304,
    );
  });

  it("never point at what is not there", async () => {
    const answer = await served.call(
      "PUT",
      "/v1/refs/nothing",
      { manifest: "cd".repeat(32) },
      { "if-none-match": "*" },
    );
    expect([answer.status, answer.json.missing]).toEqual([409, ["cd".repeat(32)]]);
    expect((await served.call("GET", "/v1/refs/nothing")).status).toBe(404);
  });

  it("take 32 savers at once, each update in its place and none lost", async () => {
    const saver = async (n: number) => {
      const bytes = bytesOf(100 + n);
      for (;;) {
        const head = await served.call("GET", "/v1/refs/crowded");
        const rule =
          head.status === 404 ? { "if-none-match": "*" } : { "if-match": head.headers.get("etag")! };
        const moved = await saveBytes(served, "crowded", bytes, rule as Record<string, string>);
        if (moved.status < 300) return moved.json.version as number;
        expect(moved.status).toBe(412);
      }
    };
    const versions = await Promise.all(Array.from({ length: 32 }, (_, n) => saver(n)));
    expect(versions.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 32 }, (_, i) => i + 1));
    for (const [n, version] of versions.entries()) {
      const file = await served.call("GET", `/v1/export/crowded@${version}/x.bin`);
      expect(file.bytes).toEqual(Buffer.from(bytesOf(100 + n)));
    }
    expect((await served.store.check({ readData: true })).ok).toBe(true);
  });
});

describe("files", () => {
  it("are imported whole and exported byte for byte, in ranges too", async () => {
    const file = bytesOf(43, 300_000);
    const saved = await served.call("PUT", "/v1/import/a%2Fb?file=weights.bin&step=7", file);
    expect([saved.status, saved.json.version]).toEqual([201, 1]);
    const path = "/v1/export/a%2Fb@step:7/weights.bin";
    expect((await served.call("GET", path)).bytes).toEqual(Buffer.from(file));
    for (const [range, from, to] of [
      ["bytes=0-0", 0, 1],
      ["bytes=1000-199999", 1000, 200_000],
      ["bytes=299999-", 299_999, 300_000],
      ["bytes=-10", 299_990, 300_000],
      ["bytes=5-999999999", 5, 300_000],
    ] as const) {
      const part = await served.call("GET", path, undefined, { range });
      expect([part.status, part.headers.get("content-range")]).toEqual([
        206,
        `bytes ${from}-${to - 1}/300000`,
      ]);
      expect(part.bytes).toEqual(Buffer.from(file.subarray(from, to)));
    }
    expect((await served.call("GET", path, undefined, { range: "bytes=300000-" })).status).toBe(416);
    expect((await served.call("GET", path, undefined, { range: "lines=1-2" })).status).toBe(200);
  });

  it("that are malformed are refused with 422 before anything is stored", async () => {
    const bad = await served.call("PUT", "/v1/import/bad?file=x.safetensors", bytesOf(47));
    expect([bad.status, bad.json.error.code]).toEqual([422, "ERR_FORMAT_SAFETENSORS"]);
    expect(JSON.stringify(bad.json)).not.toContain("varve-import");
    expect((await served.call("GET", "/v1/refs/bad")).status).toBe(404);
  });

  it.each(["..%2Fx", "..", "a%2Fb", "%2Fetc%2Fpasswd", "x%00y", ""])("are not named %s", async (name) => {
    expect((await served.call("PUT", `/v1/import/r?file=${name}`, bytesOf(3))).status).toBe(400);
  });

  it.each([
    "/v1/export/a%2Fb@1/..%2F..%2Fetc%2Fpasswd",
    "/v1/export/..%2F..@1/x",
    "/v1/export/a%2Fb@..%2F1/x",
    "/v1/refs/..%2F..%2Fetc",
  ])("are not found at %s", async (path) => {
    expect((await served.call("GET", path)).status).toBe(404);
  });
});

describe("the watch", () => {
  it("tells of each new version, and goes on behind the last one it told of", async () => {
    const events = async (headers: Record<string, string>, count: number, onEvent = () => {}) => {
      const stop = new AbortController();
      const response = await fetch(`${served.url}/v1/watch?ref=watched`, { headers, signal: stop.signal });
      const found: { id: string; version: number }[] = [];
      let text = "";
      for await (const piece of response.body!) {
        text += Buffer.from(piece).toString();
        const whole = text.split("\n\n");
        text = whole.pop()!;
        for (const block of whole) {
          const id = /^id: (.*)$/m.exec(block)?.[1];
          const data = /^data: (.*)$/m.exec(block)?.[1];
          if (id === undefined || data === undefined) continue;
          found.push({ id, version: JSON.parse(data).version });
          onEvent();
        }
        if (found.length >= count) break;
      }
      stop.abort();
      return found;
    };
    await saveBytes(served, "watched", bytesOf(51), { "if-none-match": "*" });
    await saveBytes(served, "watched", bytesOf(53), { "if-match": "*" });
    let told = () => {};
    const watching = new Promise<void>((resolve) => {
      told = resolve;
    });
    const live = events({}, 2, told);
    await watching;
    await saveBytes(served, "watched", bytesOf(55), { "if-match": "*" });
    const seen = await live;
    expect(seen.map(({ version }) => version)).toEqual([2, 3]);
    await saveBytes(served, "watched", bytesOf(57), { "if-match": "*" });
    const missed = await events({ "last-event-id": seen[0]!.id }, 2);
    expect(missed.map(({ version }) => version)).toEqual([3, 4]);
  });
});

describe("the server's own pages", () => {
  it("describe every route that there is", async () => {
    const { json } = await served.call("GET", "/openapi.json");
    const source = ["chunk", "critical", "manifest", "ref", "table", "transfer", "watch"]
      .map((name) =>
        readFileSync(
          join(import.meta.dirname, `../../server/${name}-route${name === "watch" ? "" : "s"}.ts`),
          "utf8",
        ),
      )
      .join("");
    const routes = [...source.matchAll(/app\.(get|put|post)\("([^"]+)"/g)].map(
      ([, method, path]) =>
        `${method} ${path!.replace(/:(\w+)(\{[^}]*\})?/g, "{$1}").replace("/export/*", "/export/{ref}@{selector}/{file}")}`,
    );
    const described = Object.entries(json.paths).flatMap(([path, methods]) =>
      Object.keys(methods as object).map((method) => `${method} ${path}`),
    );
    expect(routes.length).toBeGreaterThan(10);
    expect(described).toEqual(expect.arrayContaining(routes));
  });

  it("count what happened", async () => {
    const text = (await served.call("GET", "/metrics")).bytes.toString();
    expect(text).toMatch(/^varve_saves_total [1-9]/m);
    expect(text).toMatch(/^varve_chunk_bytes_total\{direction="in"\} [1-9]/m);
    expect(text).toMatch(/^varve_chunk_put_seconds_bucket\{le="\+Inf"\} [1-9]/m);
    for (const line of text.trimEnd().split("\n")) {
      expect(line).toMatch(/^(# (HELP|TYPE) |[a-z0-9_]+(\{[^}]*\})? [-+0-9.e]+$)/);
    }
  });

  it("say that the server lives", async () => {
    const { json } = await served.call("GET", "/healthz");
    expect(json).toEqual({ ok: true, store: served.store.id, readOnly: false });
  });
});
