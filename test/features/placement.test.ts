import { randomFillSync } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Table } from "../../formats/tables/table.ts";
import { openStore } from "../../index.ts";
import type { ChunkEntry } from "../../src/chunks/chunk-index.ts";
import { digestKey, digestOf } from "../../src/chunks/digest.ts";
import { storedFrameBytes } from "../../src/chunks/pack-reader.ts";
import { realDisk } from "../../src/disk/real-disk.ts";
import { loadVersion } from "../../src/features/load-version.ts";
import { decodePlacement, placesOf } from "../../src/features/placement-reader.ts";
import { encodePlacement } from "../../src/features/placement-writer.ts";
import { FeatureRegistry } from "../../src/features/registry.ts";
import { FEATURE_PLACEMENT_BYTES_MAX } from "../../src/limits.ts";
import { openEngine } from "../../src/store.ts";
import { contentsOf } from "../tables/contents.ts";

const directory = mkdtempSync(join(tmpdir(), "varve-placement-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Noise, counters that pack, and a tail that compresses. */
function table(rows: number, seed = 1): Table {
  const of = (name: string, value: (at: number) => number) => {
    return {
      name,
      type: "f64" as const,
      rows,
      values: Float64Array.from({ length: rows }, (_, at) => value(at)),
    };
  };
  return {
    rows,
    columns: [
      of("noise", (at) => Math.cos((at + 1) * seed * 12.9898)),
      of("count", (at) => (at * seed) % 1000),
    ],
  };
}
const ROWS = 65_536 + 4096 + 700;

const noIndex = () => Promise.reject(new Error("the index was opened"));

/** A store with one table, and what its record says. */
async function published(path: string, given = table(ROWS)) {
  await using store = await openStore(path, { create: true, workers: 0 });
  await store.features.publish("alpha", given);
}

async function withRecord<T>(
  path: string,
  work: (from: {
    record: ReturnType<FeatureRegistry["require"]>;
    load: (placement: Uint8Array | undefined) => Promise<{ table: Table; opened: number }>;
  }) => Promise<T>,
): Promise<T> {
  const engine = await openEngine(path, { readOnly: true, workers: 0, lazyChunks: true });
  try {
    const record = new FeatureRegistry(engine.versions).require("alpha", 1);
    const load = async (placement: Uint8Array | undefined) => {
      let opened = 0;
      const open = async () => {
        opened++;
        return (await engine.openChunks()).reader;
      };
      const packsDirectory = `${path}/chunks/packs`;
      const from = { disk: realDisk, packsDirectory, opened: undefined, open };
      return { table: await loadVersion(from, { ...record, placement }), opened };
    };
    return await work({ record, load });
  } finally {
    await engine.close();
  }
}

/** A model of bytes that do not compress. */
const noise = (count: number) => {
  const data = new Float32Array(randomFillSync(new Uint8Array(count * 4)).buffer);
  return { [`w${count}`]: { dtype: "F32" as const, shape: [count], data } };
};

function packOf(path: string): string {
  const packs = join(path, "chunks/packs");
  return join(packs, readdirSync(packs).find((name) => name.endsWith(".pack"))!);
}

describe("where a feature table's chunks lie", () => {
  const piece = (text: string, rawBytes: number) => ({ digest: digestOf(Buffer.from(text)), rawBytes });
  const entry = (offset: number, frameBytes: number, more: Partial<ChunkEntry> = {}): ChunkEntry => {
    return { packId: 7n, offset, frameBytes, ordinal: 0, depth: 0, costKiB: 1, rawBytes: 0, ...more };
  };

  it("is noted as runs, in these bytes", () => {
    const stored = storedFrameBytes(1000);
    const [manifest, a, b, patched, packed, elsewhere] = [
      "m",
      "a",
      "b",
      "patched",
      "packed",
      "elsewhere",
    ].map((name) => piece(name, 1000));
    const known = new Map([
      [digestKey(manifest!.digest), entry(4096, 300)],
      [digestKey(a!.digest), entry(64, stored)],
      [digestKey(b!.digest), entry(64 + stored, stored)],
      [digestKey(patched!.digest), entry(9000, 90, { depth: 1 })],
      [digestKey(packed!.digest), entry(8000, 200)],
      [digestKey(elsewhere!.digest), entry(64, stored, { packId: 258n })],
    ]);
    const pieces = [a!, b!, patched!, packed!, elsewhere!];
    const bytes = encodePlacement(manifest!.digest, pieces, (digest) => known.get(digestKey(digest)));
    const golden = "0207000000000000000201000000000000018020ac0200020140010001c03ec80100010240";
    expect(Buffer.from(bytes).toString("hex")).toBe(golden);
    const page = readFileSync(join(import.meta.dirname, "../../docs/formats/features.md"), "utf8");
    const [, example] = /<!-- placement -->\s+```\n([\s\S]*?)```/.exec(page)!;
    const shown = example!.split("\n").map((line) => line.split(/ {2,}/)[0]!.replaceAll(" ", ""));
    expect(shown.join("")).toBe(golden);
    const places = [...placesOf(decodePlacement(bytes), pieces)];
    const expected = [a!, b!, packed!, elsewhere!].map(({ digest, rawBytes }) => {
      const { packId, offset, frameBytes } = known.get(digestKey(digest))!;
      return { digest, entry: { packId, offset, frameBytes, rawBytes } };
    });
    expect(places).toEqual(expected);
  });

  it("takes at most its limit: what comes after has no place", () => {
    const pieces = Array.from({ length: 2000 }, (_, at) => piece(`${at}`, 1000));
    const offsets = new Map(pieces.map(({ digest }, at) => [digestKey(digest), at * 5000]));
    const of = (digest: Uint8Array) => entry(offsets.get(digestKey(digest)) ?? 0, storedFrameBytes(1000));
    const bytes = encodePlacement(pieces[0]!.digest, pieces, of);
    expect(bytes.byteLength).toBeLessThanOrEqual(FEATURE_PLACEMENT_BYTES_MAX);
    expect(bytes.byteLength).toBeGreaterThan(FEATURE_PLACEMENT_BYTES_MAX - 16);
    const places = [...placesOf(decodePlacement(bytes), pieces)];
    expect(places.length).toBeLessThan(pieces.length);
    for (const [at, place] of places.entries()) expect(place.entry.offset).toBe(at * 5000);
  });

  it("says nothing where its bytes are cut off or wrong", () => {
    const pieces = [piece("a", 1000)];
    const bytes = encodePlacement(pieces[0]!.digest, pieces, () => entry(64, storedFrameBytes(1000)));
    for (let end = 0; end < bytes.length; end++) {
      expect([...placesOf(decodePlacement(bytes.subarray(0, end)), pieces)]).toEqual([]);
    }
  });
});

describe("a feature table in a process that has not opened the index", () => {
  it("loads without it, whole or by columns", async () => {
    const path = join(directory, "plain");
    await published(path);
    await using store = await openStore(path, { readOnly: true, workers: 0, openIndex: noIndex });
    expect(contentsOf(await store.features.loadColumns("alpha"))).toEqual(contentsOf(table(ROWS)));
    const { columns } = await store.features.loadColumns("alpha", { columns: ["count"] });
    expect(columns[0]!.values).toEqual(table(ROWS).columns[1]!.values);
  });

  it("loads a later version without it where its chunks are others, with it where its tail is a difference", async () => {
    const path = join(directory, "later");
    {
      await using store = await openStore(path, { create: true, workers: 0 });
      // Whole chunks alone: no tail that would be stored against the one before.
      await store.features.publish("alpha", table(65_536));
      await store.features.publish("alpha", table(65_536, 2));
      await store.features.publish("beta", table(ROWS));
      await store.features.publish("beta", table(ROWS + 1));
    }
    {
      await using store = await openStore(path, { readOnly: true, workers: 0, openIndex: noIndex });
      expect(contentsOf(await store.features.loadColumns("alpha"))).toEqual(contentsOf(table(65_536, 2)));
    }
    await using store = await openStore(path, { readOnly: true, workers: 0 });
    expect(contentsOf(await store.features.loadColumns("beta"))).toEqual(contentsOf(table(ROWS + 1)));
  });

  it("loads by the index when any byte of what was noted is another", async () => {
    const path = join(directory, "flipped");
    const given = table(4096 + 20);
    await published(path, given);
    await withRecord(path, async ({ record, load }) => {
      const placement = record.placement!;
      expect(placement.byteLength).toBeLessThan(64);
      expect((await load(placement)).opened).toBe(0);
      expect((await load(undefined)).opened).toBe(1);
      let openedFor = 0;
      for (let bit = 0; bit < placement.length * 8; bit++) {
        const flipped = placement.slice();
        flipped[bit >> 3]! ^= 1 << (bit & 7);
        const { table: loaded, opened } = await load(flipped);
        expect(contentsOf(loaded), `bit ${bit}`).toEqual(contentsOf(given));
        openedFor += Math.min(1, opened);
      }
      expect(openedFor).toBeGreaterThan(placement.length * 4);
    });
  });

  it("loads by the index after gc has moved its chunks", async () => {
    const path = join(directory, "moved");
    {
      await using store = await openStore(path, { create: true, workers: 0 });
      for (const count of [500_000, 10]) await store.checkpoints.save("noise", noise(count), {}).durable;
      await store.features.publish("alpha", table(ROWS));
    }
    {
      // gc leaves the pack alone that a store is appending to.
      await using store = await openStore(path, { workers: 0 });
      await store.checkpoints.prune("noise", { keepLast: 1 });
      expect(await store.gc()).toMatchObject({ packsRewritten: 1 });
    }
    await withRecord(path, async ({ record, load }) => {
      const { table: loaded, opened } = await load(record.placement);
      expect(contentsOf(loaded)).toEqual(contentsOf(table(ROWS)));
      expect(opened).toBeGreaterThan(0);
    });
  });

  it("loads a backup", async () => {
    const [path, copy] = [join(directory, "original"), join(directory, "copy")];
    await published(path);
    {
      await using store = await openStore(path, { workers: 0 });
      await store.backup(copy);
    }
    rmSync(path, { recursive: true });
    await withRecord(copy, async ({ record, load }) => {
      expect(contentsOf((await load(record.placement)).table)).toEqual(contentsOf(table(ROWS)));
      expect(contentsOf((await load(undefined)).table)).toEqual(contentsOf(table(ROWS)));
    });
  });

  it("tells of damage as the index would", async () => {
    const path = join(directory, "damaged");
    await published(path);
    const pack = packOf(path);
    const bytes = readFileSync(pack);
    bytes[200_000]! ^= 1;
    writeFileSync(pack, bytes);
    await withRecord(path, async ({ record, load }) => {
      const [placed, indexed] = await Promise.all(
        [record.placement, undefined].map((each) => load(each).then(undefined, (error) => error)),
      );
      expect(placed).toMatchObject({ code: "ERR_STORE_CORRUPT", message: (indexed as Error).message });
    });
  });
});
