import { chunkPlace } from "../src/chunks/chunk-store.ts";
import { decodableEntries } from "../src/chunks/decodable.ts";
import { lockGcForReading } from "../src/chunks/gc-lock.ts";
import { LmdbIndex } from "../src/chunks/lmdb-index.ts";
import { PACK_HEADER_BYTES, packFileName, packIdOfFileName } from "../src/chunks/pack-format.ts";
import { type PackScan, scanPack } from "../src/chunks/pack-scan.ts";
import { recoverIndex } from "../src/chunks/rebuild-index.ts";
import type { Disk } from "../src/disk/disk.ts";
import { makeDurableDirectory } from "../src/disk/durable-directory.ts";
import { StoreError } from "../src/errors.ts";
import type { Engine } from "../src/store.ts";
import { copyVersionLog, VERSION_LOG } from "../src/versions/copy-log.ts";
import { copyRange, isBeginningOf } from "./copy-file.ts";
import type { BackupContext, BackupPart, PartResult } from "./part.ts";

export interface CheckpointsResult extends PartResult {
  /** The copy holds the version log up to this record. */
  seq: bigint;
  packs: number;
}

/**
 * Versions of models and the chunks they need.
 *
 * 1. gc's lock, shared: what a version needs stays, and packs only grow.
 * 2. How far the version log is durable: fixed now.
 * 3. Packs, each as far as the index knows good frames: a version's frames were indexed before its record was
 *    written, so that every version up to 2 has its chunks there. What is copied is read back and checked.
 * 4. The copy's index.
 * 5. The version log up to 2: only now does the copy show the new versions.
 * 6. Packs that gc has removed from the store since go from the copy too, once nothing in it needs them.
 */
export function checkpointsPart(engine: Engine): BackupPart<CheckpointsResult> {
  return {
    name: "checkpoints",
    sizeBytes: ({ disk, source }) => {
      const { packsDirectory } = chunkPlace(`${source}/chunks`);
      const packs = disk.list(packsDirectory).map((name) => sizeOf(disk, `${packsDirectory}/${name}`));
      return packs.reduce((sum, size) => sum + size, sizeOf(disk, `${source}/${VERSION_LOG}`));
    },
    async copy(context) {
      const gcLock = await lockGcForReading(context.disk, `${context.source}/chunks`);
      try {
        return await copyCheckpoints(engine, context);
      } finally {
        gcLock?.close();
      }
    },
  };
}

async function copyCheckpoints(engine: Engine, context: BackupContext): Promise<CheckpointsResult> {
  const { disk, source, destination, storeId } = context;
  const log = { source: `${source}/${VERSION_LOG}`, target: `${destination}/${VERSION_LOG}` };
  if (disk.stat(log.target) !== undefined && !(await isBeginningOf(disk, log.target, log.source))) {
    throw new StoreError(
      "ERR_EXISTS",
      `${destination} has versions of its own: it is no longer a mere backup`,
      {
        context: { directory: destination },
        hint: "Back up to a new directory.",
      },
    );
  }
  engine.versions.refresh();
  const { durableBytes, seq } = engine.versions;
  const chunks = await engine.openChunks();
  chunks.index.refresh();
  const packs = await copyPacks(engine, context);
  const beforeBytes = sizeOf(disk, log.target);
  await copyVersionLog(disk, { ...log, storeId, sizeBytes: durableBytes, seq });
  context.onBytes(durableBytes);
  await packs.removeOthers();
  const writtenBytes = packs.writtenBytes + Math.max(0, durableBytes - beforeBytes);
  return { seq, packs: packs.count, writtenBytes };
}

interface CopiedPacks {
  writtenBytes: number;
  count: number;
  removeOthers(): Promise<void>;
}

async function copyPacks(engine: Engine, context: BackupContext): Promise<CopiedPacks> {
  const { disk, source, destination, storeId, onBytes } = context;
  const from = chunkPlace(`${source}/chunks`).packsDirectory;
  const place = chunkPlace(`${destination}/chunks`);
  makeDurableDirectory(disk, place.packsDirectory);
  const others = new Set(disk.list(place.packsDirectory));
  const index = LmdbIndex.open(disk, place.indexDirectory, { readOnly: false });
  try {
    const known = index.complete ? new Map([...index.packEnds()].map((end) => [end.packId, end])) : new Map();
    const scans: (PackScan & { framesBefore: number })[] = [];
    let writtenBytes = 0;
    let count = 0;
    for (const { packId, goodBytes } of engine.chunks.index.packEnds()) {
      const name = packFileName(packId);
      count++;
      others.delete(name);
      const target = `${place.packsDirectory}/${name}`;
      const had = known.get(packId);
      const start = had !== undefined && sizeOf(disk, target) >= had.goodBytes ? had.goodBytes : 0;
      onBytes(Math.min(start, goodBytes));
      if (start >= goodBytes) continue;
      await copyRange(context, { source: `${from}/${name}`, target, from: start, to: goodBytes });
      const fromOffset = Math.max(start, PACK_HEADER_BYTES);
      const options = { readData: true, fromOffset };
      const scan = scanPack(disk, place.packsDirectory, packId, storeId, options);
      if (scan.damage.length > 0) throw damaged(`${from}/${name}`, scan);
      scans.push({ ...scan, framesBefore: start === 0 ? 0 : had.frameCount });
      writtenBytes += goodBytes - start;
    }
    disk.syncDirectory(place.packsDirectory);
    const packEnds = scans.map(({ packId, goodBytes, frames, framesBefore }) => ({
      packId,
      goodBytes,
      frameCount: framesBefore + frames.length,
    }));
    await index.commit({ puts: decodableEntries(scans, index), packEnds });
    const removeOthers = () => removePacks(context, others);
    return { writtenBytes, count, removeOthers };
  } finally {
    await index.close();
  }
}

/** The index goes first, so that it never names a pack that is gone: without one, it is built from the packs. */
async function removePacks({ disk, destination, storeId }: BackupContext, names: Set<string>): Promise<void> {
  if (names.size === 0) return;
  const place = chunkPlace(`${destination}/chunks`);
  for (const name of disk.list(place.indexDirectory)) disk.remove(`${place.indexDirectory}/${name}`);
  disk.syncDirectory(place.indexDirectory);
  for (const name of names) {
    if (packIdOfFileName(name) !== undefined) disk.remove(`${place.packsDirectory}/${name}`);
  }
  disk.syncDirectory(place.packsDirectory);
  const rebuilt = recoverIndex(disk, place.packsDirectory, storeId);
  const index = LmdbIndex.open(disk, place.indexDirectory, { readOnly: false });
  try {
    await index.commit({ puts: [...rebuilt.entries()], packEnds: [...rebuilt.packEnds()] });
  } finally {
    await index.close();
  }
}

function sizeOf(disk: Disk, path: string): number {
  return disk.stat(path)?.sizeBytes ?? 0;
}

function damaged(path: string, { damage }: PackScan): StoreError {
  const { offset, what } = damage[0]!;
  return new StoreError(
    "ERR_STORE_CORRUPT",
    `${path}, offset ${offset}: ${what}; the backup was not completed`,
    {
      context: { path, offset },
      hint: "Run `varve check --read-data` on the store, then `varve repair`; an earlier backup is as it was.",
    },
  );
}
