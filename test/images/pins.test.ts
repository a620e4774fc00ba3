import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { tensorBytes } from "../../formats/tensor.ts";
import { type OpenStoreOptions, openStore, repairStoreAt, type Store } from "../../open-store.ts";
import type { Random } from "../../src/disk/random.ts";
import { realDisk } from "../../src/disk/real-disk.ts";
import { isStoreError } from "../../src/errors.ts";
import { readHead } from "../../src/images/image-reader.ts";
import { encodeHead } from "../../src/images/image-writer.ts";
import { RangeSums } from "../../src/kernels/range-sum.ts";
import { TokenBucket } from "../../src/pace/token-bucket.ts";
import { seeded } from "../checkpoints/seeded.ts";

let directory: string;
let store: Store;

const open = async (options: OpenStoreOptions = {}) => {
  store = await openStore(join(directory, "store"), {
    create: true,
    workers: 0,
    ioBudget: Number.POSITIVE_INFINITY,
    ...options,
  });
};

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "varve-images-"));
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

const images = () => readdirSync(join(directory, "store", "images"));

async function saveModel(random: Random, ref = "m") {
  const model = store.checkpoints.allocate({
    a: { dtype: "F32", shape: [300_000] },
    b: { dtype: "F32", shape: [7] },
    c: { dtype: "U8", shape: [5001] },
    d: { dtype: "F32", shape: [0] },
  });
  for (const tensor of Object.values(model)) random.fill(tensorBytes(tensor));
  await store.checkpoints.save(ref, model).durable;
  return model;
}

function expectSame(tensors: ReadonlyMap<string, { data: ArrayBufferView }>, model: Record<string, unknown>) {
  expect([...tensors.keys()].sort()).toEqual(Object.keys(model).sort());
  for (const [name, tensor] of tensors) {
    const wanted = tensorBytes(model[name] as never);
    expect(Buffer.compare(tensorBytes(tensor as never), wanted), name).toBe(0);
  }
}

function flip(path: string, offset: number): void {
  const byte = readFileSync(path)[offset]! ^ 0x10;
  const fd = openSync(path, "r+");
  writeSync(fd, Buffer.from([byte]), 0, 1, offset);
  closeSync(fd);
}

describe("a pinned ref", () => {
  it("comes from the chunks once, then from its image, mapped, page by page", async () => {
    await seeded(async (random) => {
      await open();
      const model = await saveModel(random);
      const first = await store.checkpoints.pin("m");
      expect(first.source).toBe("chunks");
      expectSame(first.tensors, model);
      await first.imaged;
      const second = await store.checkpoints.pin("m");
      expect(second.source).toBe("mapped");
      expectSame(second.tensors, model);
      for (const { data } of second.tensors.values()) expect(data.byteOffset % 4096).toBe(0);
      await second.verified;
      // The views are this process's own: writing to one changes nothing for anybody else.
      (second.tensors.get("a")!.data as Float32Array).fill(0);
      expectSame((await store.checkpoints.pin("m")).tensors, model);
      expectSame(await store.checkpoints.restore("m"), model);
    });
  });

  it("has one image, of its newest version, and removes the old one when nobody reads it", async () => {
    await seeded(async (random) => {
      await open();
      await saveModel(random);
      await (await store.checkpoints.pin("m")).imaged;
      const held = await store.checkpoints.pin("m");
      expect(images().length).toBe(1);
      const model = await saveModel(random);
      await expect.poll(() => images().filter((name) => name.endsWith("-2.image")).length).toBe(1);
      // The mapped one stays.
      await expect.poll(() => images().length).toBe(2);
      const before = Buffer.from(tensorBytes(held.tensors.get("a")!));
      await held.verified;
      await store.close();
      await open();
      const next = await store.checkpoints.pin("m");
      expectSame(next.tensors, model);
      expect(before.equals(tensorBytes(held.tensors.get("a")!)), "views outlive the store").toBe(true);
      await saveModel(random);
      await expect.poll(() => images().some((name) => name.endsWith("-1.image"))).toBe(false);
      await store.checkpoints.unpin("m");
      await expect.poll(() => images().some((name) => name.endsWith("-3.image"))).toBe(false);
    });
  });

  it("is restored from its image into tensors that exist, with workers too", async () => {
    await seeded(async (random) => {
      await open({ workers: 2 });
      const model = await saveModel(random);
      await (await store.checkpoints.pin("m")).imaged;
      const target = store.checkpoints.allocate({
        a: { dtype: "F32", shape: [300_000] },
        c: { dtype: "U8", shape: [5001] },
      });
      await store.checkpoints.restoreInto("m", target);
      expectSame(new Map(Object.entries(target)), { a: model.a, c: model.c });
      const unshared = { b: { dtype: "F32" as const, shape: [7], data: new Float32Array(7) } };
      await store.checkpoints.restoreInto("m", unshared);
      expectSame(new Map(Object.entries(unshared)), { b: model.b });
    });
  });

  it("finds a damaged image, says so, and writes it again from the chunks", async () => {
    await seeded(async (random) => {
      await open();
      const model = await saveModel(random);
      await (await store.checkpoints.pin("m")).imaged;
      const path = join(directory, "store", "images", images()[0]!);
      const { size } = statSync(path);
      for (const offset of [size - 1, 4096 + random.below(1_200_000), 4096]) {
        flip(path, offset);
        const pinned = await store.checkpoints.pin("m");
        expect(
          await pinned.verified.catch((error: unknown) => isStoreError(error, "ERR_STORE_CORRUPT")),
        ).toBe(true);
        await expect.poll(async () => (await store.checkpoints.pin("m")).source).toBe("mapped");
        const again = await store.checkpoints.pin("m");
        await again.verified;
        expectSame(again.tensors, model);
        flip(path, offset);
        expectSame(await store.checkpoints.restore("m"), model);
        await expect.poll(async () => (await store.checkpoints.pin("m")).source).toBe("mapped");
        await (await store.checkpoints.pin("m")).verified;
      }
      // A damaged head is no image at all.
      flip(path, random.below(100));
      const pinned = await store.checkpoints.pin("m");
      expect(pinned.source).toBe("chunks");
      expectSame(pinned.tensors, model);
    });
  });

  it("is written by several processes at once, each a file of its own, and leftovers are removed", async () => {
    await seeded(async (random) => {
      await open({ ioBudget: 4_000_000 });
      const model = await saveModel(random);
      const others = await Promise.all(
        [1, 2].map(() => openStore(join(directory, "store"), { ioBudget: 3_000_000 })),
      );
      try {
        mkdirSync(join(directory, "store", "images"));
        writeFileSync(join(directory, "store", "images", "left.image.new"), "by a process that was killed");
        const pinned = await Promise.all([store, ...others].map((each) => each.checkpoints.pin("m")));
        await Promise.all(pinned.map(({ imaged }) => imaged));
        expect(images().length).toBe(1);
        const { tensors, source, verified } = await store.checkpoints.pin("m");
        await verified;
        expect(source).toBe("mapped");
        expectSame(tensors, model);
      } finally {
        await Promise.all(others.map((each) => each.close()));
      }
    });
  });

  it("leaves nothing behind that gc does not remove", async () => {
    await seeded(async (random) => {
      await open();
      await saveModel(random);
      await (await store.checkpoints.pin("m")).imaged;
      const reader = await openStore(join(directory, "store"), { readOnly: true });
      expect((await reader.checkpoints.pin("m")).version).toBe(1);
      const model = await saveModel(random);
      const both = [expect.stringMatching(/-1\.image$/), expect.stringMatching(/-2\.image$/)];
      await expect.poll(images).toEqual(both);
      await store.gc();
      expect(images(), "one is in use").toEqual(both);
      await reader.close();
      mkdirSync(join(directory, "store", "spool"), { recursive: true });
      writeFileSync(
        join(directory, "store", "spool", "0123456789abcdef.spool"),
        "by a process that was killed",
      );
      writeFileSync(join(directory, "store", "images", "left.image.new"), "by another");
      await store.gc({ dryRun: true });
      expect(images()).toHaveLength(3);
      await store.gc();
      expect(images()).toEqual([expect.stringMatching(/-2\.image$/)]);
      expect(readdirSync(join(directory, "store", "spool"))).toEqual([]);
      const { source, tensors } = await store.checkpoints.pin("m");
      expect(source).toBe("mapped");
      expectSame(tensors, model);
    });
  });

  it("is done without, and replaced, where its place is taken by what is no file", async () => {
    await seeded(async (random) => {
      await open();
      await saveModel(random);
      await (await store.checkpoints.pin("m")).imaged;
      const [name] = images();
      const path = join(directory, "store", "images", name!);
      const older = join(directory, "store", "images", name!.replace("-1.image", "-0.image"));
      rmSync(path);
      for (const place of [path, older]) mkdirSync(join(place, "somebody's"), { recursive: true });
      symlinkSync("/nowhere/at/all", older.replace("-0.image", "-00.image"));
      const model = await saveModel(random, "other");
      const { problems } = await store.check();
      expect(problems.map(({ where }) => where.split("/").at(-1)!.slice(33)).sort()).toEqual([
        "0.image, offset 0",
        "00.image, offset 0",
        "1.image, offset 0",
      ]);
      expect([...(await store.checkpoints.restore("m")).keys()].sort()).toEqual(["a", "b", "c", "d"]);
      await store.checkpoints.restoreInto("m", model);
      const pinned = await store.checkpoints.pin("m");
      expect(pinned.source).toBe("chunks");
      expectSame(pinned.tensors, model);
      await pinned.imaged;
      await store.gc();
      expect(images()).toEqual([name]);
      expect((await store.checkpoints.pin("m")).source).toBe("mapped");
      expect((await store.check({ readData: true })).problems).toEqual([]);
      expect(readdirSync(join(directory, "store", "quarantine")).sort()).toHaveLength(3);
    });
  });

  it("is checked and set aside by check and repair", async () => {
    await seeded(async (random) => {
      await open();
      const model = await saveModel(random);
      await (await store.checkpoints.pin("m")).imaged;
      const path = join(directory, "store", "images", images()[0]!);
      const { size } = statSync(path);
      expect((await store.check({ readData: true })).problems).toEqual([]);
      flip(path, size - 1);
      expect((await store.check()).ok).toBe(true);
      const { problems, damagedVersions } = await store.check({ readData: true });
      expect(problems).toMatchObject([{ what: expect.stringMatching(/range/), versions: [] }]);
      expect(problems[0]!.where).toContain(path);
      expect(damagedVersions).toEqual([]);
      await store.close();
      const { quarantined, check } = await repairStoreAt(join(directory, "store"));
      expect(quarantined.length).toBe(1);
      expect(check.ok).toBe(true);
      await open();
      const { tensors, source } = await store.checkpoints.pin("m");
      expect(source).toBe("chunks");
      expectSame(tensors, model);
    });
  });

  it("ends no save and no close when its image cannot be finished in time", async () => {
    await seeded(async (random) => {
      await open({ ioBudget: 1000 });
      const model = await saveModel(random);
      const pinned = await store.checkpoints.pin("m");
      const imaged = pinned.imaged.catch((error: unknown) => isStoreError(error, "ERR_ABORTED"));
      expectSame(pinned.tensors, model);
      await store.close();
      expect(await imaged).toBe(true);
      expect(images()).toEqual([]);
      await open();
    });
  });
});

describe("an image's head", () => {
  it("is what the page says, and every flipped bit and every cut is found", async () => {
    await open();
    const head = {
      storeId: new Uint8Array(16).fill(1),
      manifest: new Uint8Array(32).fill(2),
      version: 3,
      dataBytes: 4096,
      rangeBytes: 1 << 20,
      tensors: [{ file: "f", name: "w", dtype: "F32", shape: [2], offset: 0, sizeBytes: 8 }],
      checksums: BigUint64Array.from([(await RangeSums.load()).sum(new Uint8Array(4096))]),
    };
    const bytes = Buffer.concat([encodeHead(head), Buffer.alloc(4096)]);
    const path = join(directory, "golden.image");
    const read = (content: Uint8Array) => {
      rmSync(path, { force: true });
      const fd = openSync(path, "w");
      writeSync(fd, content);
      closeSync(fd);
      const file = realDisk.open(path, { access: "read" });
      try {
        return readHead(file, head.storeId);
      } finally {
        file.close();
      }
    };
    expect(read(bytes)).toEqual({ ...head, dataOffset: 4096 });
    expect(bytes.subarray(0, 160).toString("hex")).toMatchInlineSnapshot(
      `"5641525645494d47020000000000000001010101010101010101010101010101020202020202020202020202020202020202020202020202020202020202020203000000000000000010000000000000001000000000000000001000190000009ca448435b5b2266222c2277222c22463332222c5b325d2c302c385d5dde871ee8c37217d590741d820000000000000000000000000000000000000000000000"`,
    );
    // 100 bytes of head, 25 of tables, one range's sum, the checksum over both, and zeros up to the data.
    for (let bit = 0; bit < 4096 * 8; bit += bit < 140 * 8 ? 1 : 61) {
      const damaged = Buffer.from(bytes);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => read(damaged), `bit ${bit}`).toThrowError(/image/);
    }
    for (const length of [0, 50, 99, 120, 4096, bytes.length - 1]) {
      expect(() => read(bytes.subarray(0, length))).toThrowError(/image/);
    }
  });
});

describe("the token bucket", () => {
  it("lets the average through, a second's worth at once, and nothing for a rate of none", () => {
    let now = 0;
    const bucket = new TokenBucket(1000, () => now);
    expect(bucket.take(1000)).toBe(0);
    expect(bucket.take(500)).toBe(500);
    now = 500;
    expect(bucket.take(0)).toBe(0);
    now = 10_000;
    expect(bucket.take(1000)).toBe(0);
    expect(bucket.take(1)).toBe(1);
    expect(new TokenBucket(Number.POSITIVE_INFINITY).take(1e12)).toBe(0);
    expect(() => new TokenBucket(0)).toThrowError(/ioBudget/);
  });
});
