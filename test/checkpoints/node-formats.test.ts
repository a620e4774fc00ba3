import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeLayout, encodeLayout } from "../../checkpoints/layout-node.ts";
import type { ManifestFile } from "../../checkpoints/manifest-format.ts";
import { readManifest } from "../../checkpoints/manifest-reader.ts";
import { writeManifest } from "../../checkpoints/manifest-writer.ts";
import { planFile } from "../../formats/safetensors/writer.ts";
import { DTYPES, dtypeBits } from "../../formats/tensor.ts";
import { digestKey, digestOf } from "../../src/chunks/digest.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { isStoreError } from "../../src/errors.ts";
import { healStoreFile, readStoreFile, STORE_FILE, writeStoreFile } from "../../src/store-file.ts";
import { checkProperty } from "../formats/seed.ts";

/** Nodes in memory, by digest: what a chunk store is to manifests. */
function memoryNodes() {
  const nodes = new Map<string, Uint8Array>();
  return {
    nodes,
    put: async (bytes: Uint8Array) => {
      const digest = digestOf(bytes);
      nodes.set(digestKey(digest), bytes);
      return digest;
    },
    read: (digest: Uint8Array) => nodes.get(digestKey(digest))!,
  };
}

type Store = ReturnType<typeof memoryNodes>;
const write = (store: Store, files: ManifestFile[]) =>
  writeManifest(store as unknown as Parameters<typeof writeManifest>[0], files, undefined);

const digest = (i: number) => new Uint8Array(digestOf(Buffer.from(`chunk ${i}`)));
const opaque = (name: string, sizes: number[]): ManifestFile => ({
  kind: "opaque",
  name,
  sizeBytes: sizes.reduce((sum, size) => sum + size, 0),
  chunks: sizes.map((rawBytes, i) => ({ digest: digest(i), rawBytes })),
});

const code = (wanted: string) => expect.toSatisfy((error) => isStoreError(error) && error.code === wanted);

describe("a manifest", () => {
  it("has these bytes", async () => {
    const store = memoryNodes();
    const root = await write(store, [opaque("a.bin", [300, 5])]);
    expect(Buffer.from(store.read(root)).toString("hex")).toBe(
      `564d4631${"01"}${"00"}05612e62696e${"b102"}02${"ac02"}05` +
        Buffer.from(digest(0)).toString("hex") +
        Buffer.from(digest(1)).toString("hex"),
    );
  });

  it("gives back any files, with few chunks or many", async () => {
    const files = fc.array(
      fc.record({
        name: fc.string({ unit: "binary" }),
        sizes: fc.array(fc.nat(1 << 20), { maxLength: 400 }),
      }),
      { maxLength: 4 },
    );
    const cases: ManifestFile[][] = [];
    checkProperty(files, (generated) => {
      if (cases.length < 100) cases.push(generated.map(({ name, sizes }) => opaque(name, sizes)));
    });
    for (const each of cases) {
      const store = memoryNodes();
      const found = readManifest(store, await write(store, each));
      const plain = found.files.map((file) => ({
        ...file,
        chunks: file.chunks.map(({ digest, rawBytes }) => ({ digest, rawBytes })),
      }));
      expect(plain).toEqual(each);
    }
  });

  it("is refused at every cut, and a flipped bit is refused or gives other chunks, never a crash", async () => {
    const store = memoryNodes();
    const root = await write(store, [opaque("a.bin", [300, 5]), opaque("b", [7])]);
    const bytes = Buffer.from(store.read(root));
    const reading = (changed: Uint8Array) => () => readManifest({ read: () => changed }, root);
    for (let end = 0; end < bytes.byteLength; end++) {
      expect(reading(bytes.subarray(0, end))).toThrowError(code("ERR_STORE_CORRUPT"));
    }
    for (let bit = 0; bit < bytes.byteLength * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      try {
        // Nodes are chunks: their digest is compared before they get here. This is the second line.
        reading(changed)();
      } catch (error) {
        expect(["ERR_STORE_CORRUPT", "ERR_STORE_VERSION"]).toContain(
          isStoreError(error) ? error.code : error,
        );
      }
    }
    expect(reading(Buffer.concat([bytes, Buffer.alloc(1)]))).toThrowError(code("ERR_STORE_CORRUPT"));
  });

  it("of a newer format is refused by name", async () => {
    const store = memoryNodes();
    const root = await write(store, [opaque("a", [1])]);
    const bytes = Buffer.from(store.read(root));
    bytes[3] = "2".charCodeAt(0);
    expect(() => readManifest({ read: () => bytes }, root)).toThrowError(code("ERR_STORE_VERSION"));
  });
});

describe("a layout node", () => {
  it("gives back where tensors lie", () => {
    const tensors = fc.uniqueArray(
      fc.record({
        name: fc.string({ unit: "grapheme" }),
        dtype: fc.constantFrom(...DTYPES.filter((dtype) => dtypeBits(dtype) % 8 === 0)),
        shape: fc.array(fc.nat(9), { maxLength: 4 }),
      }),
      { selector: ({ name }) => name, maxLength: 20 },
    );
    checkProperty(tensors, (described) => {
      const named = described.filter(({ name }) => name !== "__metadata__");
      const { layout } = planFile(named);
      expect(decodeLayout(encodeLayout(layout), "safetensors")).toEqual(layout);
    });
  });

  it("is refused at every cut", () => {
    const { layout } = planFile([
      { name: "w", dtype: "F32", shape: [2, 3] },
      { name: "b", dtype: "BF16", shape: [4] },
    ]);
    const bytes = encodeLayout(layout);
    for (let end = 0; end < bytes.byteLength; end++) {
      expect(() => decodeLayout(bytes.subarray(0, end), "safetensors")).toThrowError(
        code("ERR_STORE_CORRUPT"),
      );
    }
  });
});

describe("varve.json", () => {
  const file = { format: 1, storeId: Buffer.alloc(16, 0xab), createdUs: 1_700_000_000_000_000n };
  const path = `/${STORE_FILE}`;

  function written(): SimulatedDisk {
    const disk = new SimulatedDisk();
    writeStoreFile(disk, "/", file);
    return disk;
  }

  it("is found damaged by every flipped bit, and is healed", () => {
    const bits = written().stat(path)!.sizeBytes * 8;
    for (let bit = 0; bit < bits; bit += 7) {
      const disk = written();
      disk.flipBit(path, bit);
      let found: unknown;
      try {
        found = readStoreFile(disk, "/");
      } catch (error) {
        expect(isStoreError(error, "ERR_STORE_CORRUPT"), `bit ${bit}`).toBe(true);
      }
      if (found !== undefined) expect(found, `bit ${bit}`).toEqual(file);
      expect(healStoreFile(disk, "/"), `bit ${bit}`).toEqual(file);
    }
  });

  it("is found damaged at every cut", () => {
    const { sizeBytes } = written().stat(path)!;
    for (let end = 0; end < sizeBytes - 1; end++) {
      const disk = written();
      const handle = disk.open(path, { access: "write" });
      handle.truncate(end);
      handle.close();
      expect(() => readStoreFile(disk, "/")).toThrowError(code("ERR_STORE_CORRUPT"));
    }
  });

  it("of a newer format is refused by name", () => {
    const disk = new SimulatedDisk();
    writeStoreFile(disk, "/", { ...file, format: 2 });
    expect(() => readStoreFile(disk, "/")).toThrowError(code("ERR_STORE_VERSION"));
  });
});
