import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Checkpoints } from "../../checkpoints/checkpoints.ts";
import { readManifest } from "../../checkpoints/manifest-reader.ts";
import { Registry } from "../../checkpoints/registry.ts";
import { safetensorsFile } from "../../formats/safetensors/writer.ts";
import type { Tensor } from "../../formats/tensor.ts";
import { encodeEntry, encodePackEnd, packKey } from "../../src/chunks/chunk-index.ts";
import { digestOf } from "../../src/chunks/digest.ts";
import { packFileName } from "../../src/chunks/pack-format.ts";
import { PackWriter } from "../../src/chunks/pack-writer.ts";
import { restoreCostKiB } from "../../src/chunks/restore-cost.ts";
import { RAW_ENCODING } from "../../src/codec/codec.ts";
import { elementCode } from "../../src/codec/element.ts";
import { PATCH_ID } from "../../src/codec/encodings/patch.ts";
import { realDisk } from "../../src/disk/real-disk.ts";
import { openEngine } from "../../src/store.ts";
import { STORE_FORMAT_VERSION, writeStoreFile } from "../../src/store-file.ts";
import { VersionStore } from "../../src/versions/version-store.ts";
import { patchOf } from "../codec/patches.ts";

/** The worked examples of docs/formats, made by the code that makes them in a store. All have this id and time. */
export const storeId = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");
const packId = 0x1122334455667788n;
export const timeUs = 1_700_000_000_000_000n;

export async function inTemporaryDirectory<T>(use: (directory: string) => T | Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), "varve-example-"));
  try {
    return await use(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Eight f32 weights, and the same with the third one a step higher. */
function exampleChunks(): { first: Uint8Array; second: Uint8Array } {
  const weights = Float32Array.from({ length: 8 }, (_, i) => (i + 1) / 4);
  const first = new Uint8Array(weights.slice().buffer);
  weights[2]! += 2 ** -22;
  return { first, second: new Uint8Array(weights.buffer) };
}

/** A pack of two frames, the second a patch of the first, and its seal; and what the index says of it. */
export function packExample(): Promise<Record<string, Uint8Array>> {
  return inTemporaryDirectory(async (directory) => {
    const { first, second } = exampleChunks();
    const writer = PackWriter.create(realDisk, directory, storeId, packId, timeUs)!;
    const frameOf = (bytes: Uint8Array, bases: Uint8Array[], basesKiB: number) => {
      const patched = { encoding: PATCH_ID, payload: patchOf(bytes, 4, [{ from: 2, units: 1 }]) };
      const { encoding, payload } = bases.length > 0 ? patched : { encoding: RAW_ENCODING, payload: bytes };
      const costKiB = restoreCostKiB(payload.byteLength, bytes.byteLength, basesKiB);
      const chunks = [{ digest: digestOf(bytes), rawBytes: bytes.byteLength }];
      const names = { chunks, bases: bases.map(digestOf), depth: bases.length };
      return { encoding, element: elementCode("f32"), ...names, costKiB, payload: new Uint8Array(payload) };
    };
    const base = frameOf(first, [], 0);
    await writer.append(base);
    const frame = frameOf(second, [first], base.costKiB);
    const place = await writer.append(frame);
    await writer.sync();
    const goodBytes = writer.sizeBytes;
    await writer.seal();
    writer.close();
    const { depth, costKiB } = frame;
    const digest = digestOf(second);
    const entry = { packId, ...place, ordinal: 0, depth, costKiB, rawBytes: second.byteLength };
    const key = packKey(packId);
    return {
      pack: readFileSync(join(directory, packFileName(packId))),
      "index-chunk": Buffer.concat([digest, encodeEntry(digest, entry)]),
      "index-pack": Buffer.concat([key, encodePackEnd(key, { packId, goodBytes, frameCount: 2 })]),
    };
  });
}

/** A version with a file of tensors (the one of docs/formats/safetensors.md) and an opaque file; then its tag. */
export function versionExample(): Promise<Record<string, Uint8Array>> {
  return inTemporaryDirectory(async (directory) => {
    const [model, store] = [join(directory, "model"), join(directory, "store")];
    realDisk.makeDirectory(model);
    realDisk.makeDirectory(`${store}/chunks/packs`);
    const w: Tensor = { dtype: "F32", shape: [2], data: new Float32Array([1, -2]) };
    writeFileSync(
      join(model, "model.safetensors"),
      safetensorsFile(new Map([["w", w]]), new Map([["step", "600"]])),
    );
    writeFileSync(join(model, "notes.txt"), "hi\n");
    VersionStore.create({ disk: realDisk, directory: `${store}/versions`, storeId });
    writeStoreFile(realDisk, store, { format: STORE_FORMAT_VERSION, storeId, createdUs: timeUs });
    const engine = await openEngine(store, { workers: 0, nowUs: () => timeUs });
    try {
      await new Checkpoints(engine, { onError: undefined }).saveFiles("lstm", [model]);
      const { manifest } = new Registry(engine.versions).require("lstm", 1);
      const { nodes } = readManifest(engine.chunks, manifest);
      return {
        "manifest-root": engine.chunks.read(nodes.root),
        "manifest-layout": engine.chunks.read(nodes.layouts[0]!),
        "varve-json": readFileSync(`${store}/varve.json`),
      };
    } finally {
      await engine.close();
    }
  });
}

/** The log of two records, a version and a tag, and the mark after them. */
export function logExample(): Promise<Record<string, Uint8Array>> {
  return inTemporaryDirectory(async (directory) => {
    VersionStore.create({ disk: realDisk, directory, storeId });
    const options = { disk: realDisk, directory, storeId, readOnly: false, nowUs: () => timeUs };
    const store = await VersionStore.open(options);
    try {
      const registry = new Registry(store);
      const counts = { newChunks: 4, files: 1, tensors: 1, hasResume: false };
      const sizes = { logicalBytes: 104, packBytes: 471 };
      const manifest = digestOf(Buffer.from("manifest"));
      const said = { step: 600, metrics: { loss: 0.25 }, metadata: {} };
      await registry.add({ ref: "lstm", manifest, ...said, ...sizes, ...counts }, { newest: true });
      await registry.tag("lstm", 1, "deploy");
    } finally {
      store.close();
    }
    return { log: readFileSync(join(directory, "log")), mark: readFileSync(join(directory, "mark")) };
  });
}
