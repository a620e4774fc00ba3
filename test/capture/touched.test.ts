import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Tensor, tensorBytes } from "../../formats/tensor.ts";
import { type OpenStoreOptions, openStore, type Store } from "../../open-store.ts";
import type { Random } from "../../src/disk/random.ts";
import { isStoreError } from "../../src/errors.ts";
import { seeded } from "../checkpoints/seeded.ts";

let directory: string;
let store: Store;

const open = async (options: OpenStoreOptions = {}) => {
  store = await openStore(join(directory, "store"), { create: true, ...options });
};

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "varve-touched-"));
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

type Model = Record<string, Tensor>;

/** Tables of several shapes: rows that straddle chunks, tensors that share one, a scalar, bytes. */
const allocate = () =>
  store.checkpoints.allocate({
    wide: { dtype: "F32", shape: [700, 100] },
    table: { dtype: "F32", shape: [8192, 16] },
    small: { dtype: "F32", shape: [50, 3] },
    bias: { dtype: "F32", shape: [40] },
    scalar: { dtype: "F32", shape: [] },
    bytes: { dtype: "U8", shape: [999, 7] },
  });

function writeRow(tensor: Tensor, row: number, random: Random): void {
  const bytes = tensorBytes(tensor);
  const rowBytes = bytes.byteLength / (tensor.shape[0] ?? 1);
  for (let i = 0; i < rowBytes; i++) bytes[row * rowBytes + i] = random.below(256);
}

/** Writes rows at random; says which. */
function learn(model: Model, random: Random, most: number) {
  return Object.entries(model).flatMap(([tensor, { shape }]) => {
    if (random.below(3) === 0) return [];
    const rows = Array.from({ length: random.below(most) }, () => random.below(shape[0] ?? 1));
    return [{ tensor, rows }];
  });
}

const copyOf = (model: Model) =>
  new Map(Object.entries(model).map(([name, tensor]) => [name, Buffer.from(tensorBytes(tensor))]));

async function expectVersion(version: number, wanted: Map<string, Buffer>): Promise<void> {
  const restored = await store.checkpoints.restore(`m@${version}`);
  for (const [name, bytes] of wanted) {
    expect(Buffer.compare(tensorBytes(restored.get(name)!), bytes), `m@${version} ${name}`).toBe(0);
  }
}

const problemOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => (isStoreError(error) ? error : undefined),
  );

describe("a save that names the touched rows", () => {
  for (const workers of [0, 2]) {
    it(`restores as the whole tensors were, with ${workers} workers, pipelined`, async () => {
      await seeded(async (random) => {
        await open({ workers });
        const model = allocate();
        const saved: {
          durable: Promise<{ version: number; storedBytes: number }>;
          wanted: Map<string, Buffer>;
        }[] = [];
        for (let i = 0; i < 60; i++) {
          const touched = learn(model, random, 40);
          for (const { tensor, rows } of touched)
            for (const row of rows) writeRow(model[tensor as keyof typeof model], row, random);
          const wanted = copyOf(model);
          const ticket = store.checkpoints.save("m", model, { touched });
          saved.push({ durable: ticket.durable, wanted });
          await ticket.captured;
        }
        for (const { durable, wanted } of saved) await expectVersion((await durable).version, wanted);
        const check = await store.check({ readData: true });
        expect(check.problems).toEqual([]);
      });
    });
  }

  it("takes a tensor named more than once, by rows that overlap, as named once", async () => {
    await seeded(async (random) => {
      await open({ workers: 0, strict: true });
      const model: Model = allocate();
      await store.checkpoints.save("m", model).durable;
      for (let i = 0; i < 20; i++) {
        const touched = Array.from({ length: 4 }, () => learn(model, random, 40)).flat();
        for (const { tensor, rows } of touched) for (const row of rows) writeRow(model[tensor]!, row, random);
        const { version } = await store.checkpoints.save("m", model, { touched: [...touched, ...touched] })
          .durable;
        await expectVersion(version, copyOf(model));
      }
    });
  });

  for (const workers of [0, 2]) {
    it(`leaves no scratch file behind that the next saves have no use for, with ${workers} workers`, async () => {
      await seeded(async (random) => {
        await open({ workers, stagingBytes: 1 << 20 });
        const spools = () => readdirSync(join(directory, "store", "spool"));
        const model = store.checkpoints.allocate({ table: { dtype: "F32", shape: [50_000, 16] } });
        await store.checkpoints.save("m", model).durable;
        // With threads, that of the next save of everything is made while nobody waits for it.
        await expect.poll(() => spools().length).toBe(workers === 0 ? 1 : 2);
        writeRow(model.table, 7, random);
        await store.checkpoints.save("m", model, { touched: [{ tensor: "table", rows: [7] }] }).durable;
        await expect.poll(spools).toEqual([]);
        writeRow(model.table, 9, random);
        await store.checkpoints.save("m", model).durable;
        writeRow(model.table, 11, random);
        const { version } = await store.checkpoints.save("m", model, {
          touched: [{ tensor: "table", rows: [11] }],
        }).durable;
        await expectVersion(version, copyOf(model));
      });
    });
  }

  it("takes room in proportion to the rows", async () => {
    await seeded(async (random) => {
      await open({ workers: 0 });
      const model = store.checkpoints.allocate({ table: { dtype: "F32", shape: [65_536, 16] } });
      random.fill(tensorBytes(model.table));
      await store.checkpoints.save("m", model).durable;
      const rows = Uint32Array.from({ length: 655 }, () => random.below(65_536));
      for (const row of rows) writeRow(model.table, row, random);
      const { storedBytes } = await store.checkpoints.save("m", model, {
        touched: [{ tensor: "table", rows }],
      }).durable;
      expect(storedBytes).toBeLessThan(655 * 64 * 1.25);
      await expectVersion(2, copyOf(model));
    });
  });

  it("starts chunks over before a run of patches gets too long, and gc and prune keep what is needed", async () => {
    await seeded(async (random) => {
      await open({ workers: 0 });
      const model = store.checkpoints.allocate({ table: { dtype: "F32", shape: [8192, 16] } });
      await store.checkpoints.save("m", model).durable;
      for (let i = 0; i < 300; i++) {
        const rows = [random.below(8192), random.below(8192)];
        for (const row of rows) writeRow(model.table, row, random);
        await store.checkpoints.save("m", model, { touched: [{ tensor: "table", rows }] }).durable;
      }
      const wanted = copyOf(model);
      await expectVersion(301, wanted);
      await store.checkpoints.prune("m", { keepLast: 2 });
      await store.gc();
      await expectVersion(301, wanted);
      writeRow(model.table, 5, random);
      await store.checkpoints.save("m", model, { touched: [{ tensor: "table", rows: [5] }] }).durable;
      await expectVersion(302, copyOf(model));
      expect((await store.check({ readData: true })).problems).toEqual([]);
    });
  });

  it("is held to the truth in strict mode: every other changed row is found and its tensor named", async () => {
    await seeded(async (random) => {
      await open({ workers: 0, strict: true });
      const model = allocate();
      await store.checkpoints.save("m", model).durable;
      // In a chunk that is touched, and in one that is not.
      for (const [named, hidden] of [
        [3, 4],
        [3, 8000],
      ] as const) {
        writeRow(model.table, named, random);
        model.table.data[hidden * 16] = 1 + random.below(1000);
        const ticket = store.checkpoints.save("m", model, { touched: [{ tensor: "table", rows: [named] }] });
        const error = await problemOf(ticket.durable);
        expect(error?.code).toBe("ERR_CONFLICT");
        expect(error?.context["tensors"]).toContain("table");
        // The next one stores everything, whatever it is told.
        const { version } = await store.checkpoints.save("m", model, { touched: [] }).durable;
        await expectVersion(version, copyOf(model));
      }
    });
  });

  it("finds a row left out sooner or later without strict mode too", async () => {
    await open({ workers: 0 });
    const model = store.checkpoints.allocate({ table: { dtype: "F32", shape: [4096, 16] } });
    await store.checkpoints.save("m", model).durable;
    model.table.data[16] = 1;
    model.table.data[32] = 1;
    const ticket = store.checkpoints.save("m", model, { touched: [{ tensor: "table", rows: [1] }] });
    expect((await problemOf(ticket.durable))?.code).toBe("ERR_CONFLICT");
  });

  it("is whole again after one that was aborted, skipped, or left out of its rows", async () => {
    await seeded(async (random) => {
      await open({ workers: 2 });
      const model = allocate();
      await store.checkpoints.save("m", model).durable;
      for (let i = 0; i < 20; i++) {
        const abort = new AbortController();
        writeRow(model.table, random.below(8192), random);
        const lost = store.checkpoints.save("m", model, { touched: [], signal: abort.signal });
        setTimeout(() => abort.abort(), random.below(12));
        await problemOf(lost.durable);
        writeRow(model.table, 7, random);
        const next = store.checkpoints.save("m", model, { touched: [{ tensor: "table", rows: [7] }] });
        const error = await problemOf(next.durable);
        const { version } = await store.checkpoints.save("m", model, {}).durable;
        await expectVersion(version, copyOf(model));
        expect([undefined, "ERR_CONFLICT", "ERR_ABORTED"]).toContain(error?.code);
      }
    });
  });

  it("refuses rows relative to chunks that gc has taken, whoever else keeps the touched ones, and then goes on", async () => {
    await open({ workers: 0 });
    const model = store.checkpoints.allocate({ w: { dtype: "F32", shape: [16_384, 16] } });
    const words = model.w.data as Float32Array;
    words.forEach((_, i) => {
      words[i] = i;
    });
    await store.checkpoints.save("m", model).durable;
    // The chunk that is touched next stays, as part of another version; those after it go.
    const first = { w: { dtype: "F32" as const, shape: [4096, 16], data: words.slice(0, 65_536) } };
    const other = await openStore(join(directory, "store"), { workers: 0 });
    await other.checkpoints.save("m", first).durable;
    await other.checkpoints.prune("m", { keepLast: 1 });
    await other.gc();
    await other.close();
    words[5] = -1;
    const touched = [{ tensor: "w", rows: [0] }];
    await expect(store.checkpoints.save("m", model, { touched }).durable).rejects.toThrowError(/is gone/);
    const { version } = await store.checkpoints.save("m", model, { touched }).durable;
    const restored = (await store.checkpoints.restore(`m@${version}`)).get("w")!.data;
    expect(Buffer.compare(tensorBytes({ ...model.w, data: restored }), tensorBytes(model.w))).toBe(0);
    expect((await store.check({ readData: true })).problems).toEqual([]);
  });

  it("refuses tensors and rows that there are not", async () => {
    await open({ workers: 0 });
    const model = allocate();
    await store.checkpoints.save("m", model).durable;
    for (const touched of [
      [{ tensor: "none", rows: [0] }],
      [{ tensor: "bias", rows: [40] }],
      [{ tensor: "bias", rows: [-1] }],
      [{ tensor: "bias", rows: [0.5] }],
      // Neither has a length: they would name no row, and nothing would be stored.
      [{ tensor: "bias", rows: new Set([1]) as never }],
      [{ tensor: "bias", rows: 1 as never }],
    ]) {
      expect(() => store.checkpoints.save("m", model, { touched })).toThrowError(/touched/);
      expect(() => store.checkpoints.save("first", model, { touched })).toThrowError(/touched/);
    }
    await store.checkpoints.save("m", model, { touched: [{ tensor: "scalar", rows: [0] }] }).durable;
  });
});
