import { ChunkReader } from "../src/chunks/chunk-reader.ts";
import { chunkPlace } from "../src/chunks/chunk-store.ts";
import { lockGcForReading } from "../src/chunks/gc-lock.ts";
import { type IndexProbe, probeIndex } from "../src/chunks/index-probe.ts";
import type { MemoryIndex } from "../src/chunks/memory-index.ts";
import { packIdOfFileName } from "../src/chunks/pack-format.ts";
import { type PackScan, scanPack } from "../src/chunks/pack-scan.ts";
import { indexOfScans } from "../src/chunks/rebuild-index.ts";
import type { Disk } from "../src/disk/disk.ts";
import { isListed } from "../src/disk/listed.ts";
import { isStoreError, StoreError } from "../src/errors.ts";
import { FeatureRegistry } from "../src/features/registry.ts";
import { readStoreFile, STORE_FILE, type StoreFile } from "../src/store-file.ts";
import { type LogInspection, VersionStore } from "../src/versions/version-store.ts";
import { throwIfAborted } from "./aborted.ts";
import { recoverStoreId } from "./recover-store-id.ts";
import { Registry } from "./registry.ts";
import type { Progress } from "./save.ts";

export interface InspectOptions {
  /** Read every byte, not just headers and manifests. */
  readData: boolean;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** Everything a store's files say, read without opening it as a store: what `check` judges and `repair` mends. */
export interface Inspection {
  directory: string;
  storeId: Uint8Array;
  /** Absent when `varve.json` is damaged. */
  storeFile: StoreFile | undefined;
  storeFileDamage: string | undefined;
  log: LogInspection;
  registry: Registry;
  features: FeatureRegistry;
  index: IndexProbe;
  packs: PackScan[];
  /** Paths at which something else than a file stands where one should. */
  noFiles: string[];
  /** What the packs hold, by their own account: the index as it should be. */
  found: MemoryIndex;
  reader: ChunkReader;
  scannedBytes: number;
  close(): void;
}

/**
 * Reads versions first, the index after them, packs last: a save that ends meanwhile adds to all three in the other
 * order, so what is seen is never more than what is there. A sweep waits until the inspection is closed.
 */
export async function inspectStore(
  disk: Disk,
  directory: string,
  options: InspectOptions,
): Promise<Inspection> {
  const gcLock = await lockGcForReading(disk, `${directory}/chunks`);
  try {
    const inspection = await inspect(disk, directory, options);
    const close = () => {
      inspection.close();
      gcLock?.close();
    };
    return { ...inspection, close };
  } catch (error) {
    gcLock?.close();
    throw error;
  }
}

async function inspect(disk: Disk, directory: string, options: InspectOptions): Promise<Inspection> {
  const place = chunkPlace(`${directory}/chunks`);
  const { storeFile, storeFileDamage } = readStoreFileTolerantly(disk, directory);
  const storeId = storeFile?.storeId ?? recoverStoreId(disk, directory);
  const versions = VersionStore.inspect({ disk, directory: `${directory}/versions`, storeId });
  const index = await probeIndex(disk, place.indexDirectory, options.signal);
  const noFiles = findNoFiles(disk, directory);
  const sizes = packSizes(disk, place.packsDirectory);
  const totalBytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  const packs: PackScan[] = [];
  let doneBytes = 0;
  for (const [packId, sizeBytes] of sizes) {
    throwIfAborted(options.signal);
    packs.push(scanPack(disk, place.packsDirectory, packId, storeId, { readData: options.readData }));
    doneBytes += sizeBytes;
    options.onProgress?.({ doneBytes, totalBytes });
    await new Promise(setImmediate);
  }
  const found = indexOfScans(packs);
  const reader = await ChunkReader.open(disk, place.packsDirectory, found);
  return {
    directory,
    storeId,
    storeFile,
    storeFileDamage,
    log: versions.inspection,
    registry: new Registry(versions.store),
    features: new FeatureRegistry(versions.store),
    index,
    packs,
    noFiles,
    found,
    reader,
    scannedBytes: totalBytes,
    close: () => {
      reader.close();
      versions.store.close();
    },
  };
}

/**
 * Paths of a store at which something else than a file stands where one should: a directory, a pipe, a link to nowhere.
 */
export function findNoFiles(disk: Disk, directory: string): string[] {
  const { indexDirectory, packsDirectory } = chunkPlace(`${directory}/chunks`);
  const states = disk.list(`${directory}/state`).map((name) => `${directory}/state/${name}`);
  const inside = [`${directory}/versions`, packsDirectory, indexDirectory, ...states];
  const listed = inside.flatMap((place) => disk.list(place).map((name) => `${place}/${name}`));
  const named = [STORE_FILE, "chunks/gc.lock", "chunks/gc.gate"].map((name) => `${directory}/${name}`);
  // Not listed any more: a new pack of a save that failed.
  return [...named, ...listed].filter((path) => disk.stat(path)?.isFile !== true && isListed(disk, path));
}

/** Of the packs that are files. */
function packSizes(disk: Disk, directory: string): Map<bigint, number> {
  const sizes = new Map<bigint, number>();
  for (const name of disk.list(directory)) {
    const packId = packIdOfFileName(name);
    const stat = packId === undefined ? undefined : disk.stat(`${directory}/${name}`);
    if (stat?.isFile === true) sizes.set(packId!, stat.sizeBytes);
  }
  return sizes;
}

function readStoreFileTolerantly(disk: Disk, directory: string) {
  try {
    const noFile = disk.stat(`${directory}/${STORE_FILE}`)?.isFile === false;
    const storeFile = noFile ? undefined : readStoreFile(disk, directory);
    if (storeFile !== undefined) return { storeFile, storeFileDamage: undefined };
    if (!noFile && disk.stat(`${directory}/versions/log`) === undefined) {
      throw new StoreError("ERR_NO_STORE", `${directory} holds no store`, { context: { directory } });
    }
    return {
      storeFile: undefined,
      storeFileDamage: `${directory}/${STORE_FILE} is ${noFile ? "no file" : "missing"}`,
    };
  } catch (error) {
    if (!isStoreError(error, "ERR_STORE_CORRUPT")) throw error;
    return { storeFile: undefined, storeFileDamage: error.message };
  }
}
