import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Tensor, tensorBytes } from "../../formats/tensor.ts";
import { type OpenStoreOptions, openStore, type Store } from "../../open-store.ts";
import { digestOf, digestText } from "../../src/chunks/digest.ts";
import { Random } from "../../src/disk/random.ts";
import { isStoreError } from "../../src/errors.ts";
import { CAPTURES_MAX, STAGING_BYTES_MAX } from "../../src/limits.ts";
import { seeded } from "../checkpoints/seeded.ts";

let directory: string;
let store: Store;

const open = (options: OpenStoreOptions = {}) =>
  openStore(join(directory, "store"), { create: true, ...options });

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "varve-capture-"));
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

type Model = Record<string, Tensor>;

/** Fills every word of a tensor with something no earlier fill has left there. */
function scramble(tensor: Tensor, random: Random): void {
  const bytes = tensorBytes(tensor);
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
  let state = random.below(0xffff_fffe) + 1;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
}

function hashesOf(model: Iterable<readonly [string, Tensor]>): Record<string, string> {
  return Object.fromEntries(
    [...model].map(([name, tensor]) => [name, digestText(digestOf(tensorBytes(tensor)))]),
  );
}

async function expectVersion(ref: string, version: number, hashes: Record<string, string>): Promise<void> {
  const restored = await store.checkpoints.restore(`${ref}@${version}`);
  expect(hashesOf(restored), `${ref}@${version}`).toEqual(hashes);
}

const shape = (...axes: number[]) => ({ dtype: "F32" as const, shape: axes });
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "resolved",
    (error: unknown) => (isStoreError(error) ? error.code : String(error)),
  );

describe("allocated tensors", () => {
  it("are zeroed, shared, and begin at page boundaries", async () => {
    store = await open({ workers: 0 });
    const tensors = store.checkpoints.allocate({ a: shape(3), b: shape(0), c: shape(5000), d: shape() });
    expect(Object.keys(tensors)).toEqual(["a", "b", "c", "d"]);
    for (const { data } of Object.values(tensors)) {
      expect(data.buffer).toBeInstanceOf(SharedArrayBuffer);
      expect(data.byteOffset % 4096).toBe(0);
      expect([...data].every((value) => value === 0)).toBe(true);
    }
    expect(tensors.c.data).toBeInstanceOf(Float32Array);
    expect(tensors.d.data.length).toBe(1);
  });

  it("may not be larger than one shared memory", async () => {
    store = await open({ workers: 0 });
    expect(() =>
      store.checkpoints.allocate({ a: { dtype: "U8", shape: [65_535 * 65_536 + 1] } }),
    ).toThrowError(/one shared memory holds/);
  });
});

describe("a loop that overwrites every tensor right after its fence", () => {
  for (const [workers, saves] of [
    [0, 200],
    [2, 1000],
  ] as const) {
    it(`saves what was there at the call, ${saves} times, with ${workers} workers`, async () => {
      await seeded(async (random) => {
        store = await open({ workers, stagingBytes: 2 << 20 });
        const model: Model = store.checkpoints.allocate({
          a: shape(300),
          b: shape(40, 50),
          c: shape(70_000),
          e: shape(0),
        });
        // One tensor that is not shared takes those beside it another way, past the worker threads.
        const shared = workers > 0;
        model.d = shared
          ? store.checkpoints.allocate({ d: shape(500) }).d
          : { dtype: "F32", shape: [500], data: new Float32Array(500) };
        for (const tensor of Object.values(model)) scramble(tensor, random);
        const saved: { durable: Promise<{ version: number }>; hashes: Record<string, string> }[] = [];
        for (let i = 0; i < saves; i++) {
          const hashes = hashesOf(Object.entries(model));
          const ticket = store.checkpoints.save("m", model, { step: i });
          saved.push({ durable: ticket.durable, hashes });
          for (const name of random.below(2) === 0 ? ["a", "b", "c", "d", "e"] : ["e", "d", "c", "b", "a"]) {
            await ticket.tensorCaptured(name);
            scramble(model[name]!, random);
          }
        }
        for (const [i, { durable, hashes }] of saved.entries()) {
          const { version } = await durable;
          expect(version).toBe(i + 1);
          await expectVersion("m", version, hashes);
        }
        expect(store.checkpoints.captureStats().stagingFreeBytes).toBe(2 << 20);
      });
    });
  }

  it("does the same when nearly everything goes through the spool, several refs at once", async () => {
    await seeded(async (random) => {
      store = await open({ workers: 2, stagingBytes: 1 << 20 });
      const model = store.checkpoints.allocate({ a: shape(400_000), b: shape(1000), c: shape(700_001) });
      const saved: { ref: string; durable: Promise<{ version: number }>; hashes: Record<string, string> }[] =
        [];
      for (let i = 0; i < 36; i++) {
        const ref = `m${i % 3}`;
        const hashes = hashesOf(Object.entries(model));
        const ticket = store.checkpoints.save(ref, model);
        saved.push({ ref, durable: ticket.durable, hashes });
        for (const name of ["c", "a", "b"] as const) {
          await ticket.tensorCaptured(name);
          scramble(model[name], random);
        }
      }
      for (const { ref, durable, hashes } of saved) await expectVersion(ref, (await durable).version, hashes);
      expect(store.checkpoints.captureStats().spooledBytes).toBeGreaterThan(36 << 20);
      await store.close();
      expect(readdirSync(join(directory, "store", "spool")), "scratch files go with the store").toEqual([]);
    });
  });
});

describe("memory that is not shared", () => {
  it("is copied before save returns as far as 8 MiB, spooled by other threads beyond, and comes back", async () => {
    store = await open({ workers: 2, stagingBytes: 4 << 20 });
    const random = new Random(7);
    const small = { w: { ...shape(1000), data: new Float32Array(1000) } };
    scramble(small.w, random);
    const hashes = hashesOf(Object.entries(small));
    const ticket = store.checkpoints.save("small", small);
    small.w.data.fill(0);
    expect(ticket.copyMs).toBeGreaterThan(0);
    await expectVersion("small", (await ticket.durable).version, hashes);

    const large = { w: { ...shape(6_000_000), data: new Float32Array(6_000_000) } };
    scramble(large.w, random);
    const largeHashes = hashesOf(Object.entries(large));
    const second = store.checkpoints.save("large", large);
    await second.captured;
    large.w.data.fill(0);
    await expectVersion("large", (await second.durable).version, largeHashes);
  });
});

describe("strict mode", () => {
  it("finds a trainer that does not wait for its fence, and names the tensor", async () => {
    store = await open({ workers: 0, strict: true });
    const model = store.checkpoints.allocate({ a: shape(100_000), b: shape(100_000) });
    const good = store.checkpoints.save("m", model);
    await good.captured;
    model.b.data[5] = 1;
    expect((await good.durable).version).toBe(1);
    // The inline pool captures later than this line runs.
    const bad = store.checkpoints.save("m", model);
    model.b.data[99_999] = 2;
    const error = await bad.durable.catch((problem: unknown) => problem);
    expect(isStoreError(error, "ERR_CONFLICT") && error.context["tensors"]).toEqual(["b"]);
    expect(store.checkpoints.log("m").length).toBe(1);
    expect((await store.checkpoints.save("m", model).durable).version).toBe(2);
  });
});

describe("when earlier saves hold all the room", () => {
  it("waits or skips as asked, counts both, and loses no byte of a save", async () => {
    await seeded(async (random) => {
      store = await open({ workers: 1, stagingBytes: 1 << 20, spoolBytes: 0 });
      const model = store.checkpoints.allocate({ w: shape(600_000) });
      const saved: { durable: Promise<{ version: number }>; hashes: Record<string, string> }[] = [];
      for (let i = 0; i < 4; i++) {
        scramble(model.w, random);
        const hashes = hashesOf(Object.entries(model));
        const ticket = store.checkpoints.save("m", model);
        saved.push({ durable: ticket.durable, hashes });
        const left = store.checkpoints.save("m", model, { onPressure: "skip" });
        expect(left.skipped).toBe(true);
        await left.captured;
        expect(await codeOf(left.durable)).toBe("ERR_ABORTED");
        await ticket.captured;
      }
      for (const { durable, hashes } of saved) await expectVersion("m", (await durable).version, hashes);
      const { waits, skips } = store.checkpoints.captureStats();
      expect(skips).toBe(4);
      expect(waits).toBeGreaterThan(0);
      expect(store.checkpoints.log("m").length).toBe(4);
    });
  });

  it("holds at most so many tiny saves at once", async () => {
    store = await open({ workers: 0 });
    const model = store.checkpoints.allocate({ w: shape(2) });
    const tickets = Array.from({ length: CAPTURES_MAX }, () => store.checkpoints.save("m", model));
    expect(store.checkpoints.save("m", model, { onPressure: "skip" }).skipped).toBe(true);
    await Promise.all(tickets.map((ticket) => ticket.durable));
    expect(store.checkpoints.save("m", model, { onPressure: "skip" }).skipped).toBe(false);
  });

  it("stops waiting when aborted", async () => {
    store = await open({ workers: 1, stagingBytes: 1 << 20, spoolBytes: 0 });
    const model = store.checkpoints.allocate({ w: shape(600_000) });
    const first = store.checkpoints.save("m", model);
    const abort = new AbortController();
    const second = store.checkpoints.save("m", model, { signal: abort.signal });
    const third = store.checkpoints.save("m", model);
    abort.abort();
    expect(await codeOf(second.durable)).toBe("ERR_ABORTED");
    expect(await codeOf(second.tensorCaptured("w"))).toBe("ERR_ABORTED");
    expect([(await first.durable).version, (await third.durable).version]).toEqual([1, 2]);
  });

  it("refuses less staging than one piece, and more than a memory holds", async () => {
    store = await open({ workers: 0, stagingBytes: 1 << 20 });
    for (const stagingBytes of [(1 << 20) - 1, STAGING_BYTES_MAX + 1]) {
      await expect(open({ workers: 0, stagingBytes })).rejects.toMatchObject({ code: "ERR_LIMIT" });
    }
    await (await open({ workers: 0, stagingBytes: STAGING_BYTES_MAX })).close();
  });
});

describe("a save that is aborted", () => {
  it("leaves nothing, and what follows it whole, wherever that hits", async () => {
    await seeded(async (random) => {
      store = await open({ workers: 2, stagingBytes: 1 << 20 });
      const model = store.checkpoints.allocate({ a: shape(300_000), b: shape(400_000) });
      let durable = 0;
      for (let i = 0; i < 25; i++) {
        const abort = new AbortController();
        const ticket = store.checkpoints.save("m", model, { signal: abort.signal });
        setTimeout(() => abort.abort(), random.below(60));
        const code = await codeOf(ticket.durable);
        expect(["resolved", "ERR_ABORTED"]).toContain(code);
        if (code === "resolved") durable += 1;
        await ticket.captured.catch(() => {});
        for (const tensor of Object.values(model)) scramble(tensor, random);
        const hashes = hashesOf(Object.entries(model));
        const { version } = await store.checkpoints.save("m", model).durable;
        durable += 1;
        if (i % 5 === 0) await expectVersion("m", version, hashes);
      }
      expect(store.checkpoints.log("m").length).toBe(durable);
      expect(store.checkpoints.captureStats().stagingFreeBytes).toBe(1 << 20);
    });
  });
});

describe("a spool that cannot be made", () => {
  it("fails the save that needs it, holds nothing back, and is tried again", async () => {
    store = await open({ workers: 0, stagingBytes: 1 << 20 });
    const spool = join(directory, "store", "spool");
    writeFileSync(spool, "no directory");
    const model = store.checkpoints.allocate({ w: shape(600_000) });
    const ticket = store.checkpoints.save("m", model);
    expect(await codeOf(ticket.durable)).toBe("ERR_EXISTS");
    expect(store.checkpoints.captureStats().stagingFreeBytes).toBe(1 << 20);
    rmSync(spool);
    expect((await store.checkpoints.save("m", model, { onPressure: "skip" }).durable).version).toBe(1);
  });
});

describe("a save against what the one before captured", () => {
  it("is bit-exact and as small as one against decoded parents, also when the scratch file was taken meanwhile", () =>
    seeded(async (random) => {
      // Room for one model in the spool beside the one being captured, or for none.
      const storedBytes: number[][] = [];
      for (const spoolBytes of [64 << 20, 5 << 20]) {
        store = await openStore(join(directory, `spool-${spoolBytes}`), {
          create: true,
          workers: 2,
          stagingBytes: 1 << 20,
          spoolBytes,
        });
        const model = store.checkpoints.allocate({ a: shape(500_000), b: shape(500_000) });
        for (const { data } of Object.values(model)) {
          for (let i = 0; i < data.length; i++) data[i] = random.below(1 << 20) / (1 << 20);
        }
        // Of other content: of two saves that need one chunk, either may be the one that stores it.
        const others = store.checkpoints.allocate({ a: shape(500_000), b: shape(500_000) });
        for (const { data } of Object.values(others))
          random.fill(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
        const hashes: Record<string, string>[] = [];
        const stored: number[] = [];
        for (let step = 0; step < 4; step++) {
          if (step > 0)
            for (const { data } of Object.values(model))
              for (let i = 0; i < data.length; i++) (data[i] as number) *= 1.0001;
          hashes.push(hashesOf(Object.entries(model)));
          const ticket = store.checkpoints.save("m", model, { profile: "fast" });
          // Another ref's capture comes between, and takes what room there is.
          const other = store.checkpoints.save("other", others, { profile: "fast" });
          await ticket.captured;
          await other.captured;
          stored.push((await ticket.durable).storedBytes);
          await other.durable;
        }
        for (let step = 0; step < 4; step++) await expectVersion("m", step + 1, hashes[step]!);
        expect(stored[3]!).toBeLessThan(stored[0]! * 0.8);
        storedBytes.push(stored);
        const check = await store.check({ readData: true });
        expect(check.ok).toBe(true);
        if (spoolBytes === 64 << 20) await store.close();
      }
      expect(storedBytes[0]!.slice(1).reduce((a, b) => a + b)).toBeLessThan(
        storedBytes[1]!.slice(1).reduce((a, b) => a + b) * 1.05,
      );
    }));

  it("finds its scratch file made ready by the save before, if that is allowed", () =>
    seeded(async () => {
      for (const [spoolBytes, files] of [
        [64 << 20, 2],
        [7 << 20, 1],
      ] as const) {
        const place = join(directory, `ready-${spoolBytes}`);
        store = await openStore(place, { create: true, workers: 2, stagingBytes: 1 << 20, spoolBytes });
        const model = store.checkpoints.allocate({ a: shape(2_000_000) });
        const spools = () => readdirSync(join(place, "spool")).sort();
        await store.checkpoints.save("m", model).durable;
        const ready = spools();
        expect(ready.length).toBe(files);
        for (let step = 0; step < 3; step++) {
          (model.a.data as Float32Array).fill(step);
          const hashes = hashesOf(Object.entries(model));
          const { version } = await store.checkpoints.save("m", model).durable;
          await expectVersion("m", version, hashes);
          expect(spools()).toEqual(ready);
        }
        if (files === 2) await store.close();
      }
    }));

  it("takes no staging memory for a capture that does not fit into it, and all of it for one that does", async () => {
    store = await open({ workers: 1, stagingBytes: 4 << 20 });
    const model = store.checkpoints.allocate({ small: shape(700_000), large: shape(1_500_000) });
    await store.checkpoints.save("small", { small: model.small }).durable;
    expect(store.checkpoints.captureStats().spooledBytes).toBe(0);
    await store.checkpoints.save("large", { large: model.large }).durable;
    expect(store.checkpoints.captureStats().spooledBytes).toBeGreaterThan(6_000_000);
  });
});
