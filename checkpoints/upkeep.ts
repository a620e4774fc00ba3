import type { ChunkStore } from "../src/chunks/chunk-store.ts";
import { collectGarbage, type GcOptions, type GcResult } from "../src/chunks/gc.ts";
import type { Pacing } from "../src/chunks/pacing.ts";
import { type RecompressOptions, type RecompressResult, recompress } from "../src/chunks/recompress.ts";
import { isStoreError } from "../src/errors.ts";
import type { Engine } from "../src/store.ts";
import { manifestChunks } from "./manifest-chunks.ts";
import type { Registry, VersionRecord } from "./registry.ts";

/** Names the chunks that something beside checkpoints needs. */
export type MarkOthers = (chunks: ChunkStore, visit: (digest: Uint8Array) => void) => void;

/** Removes chunks that no version needs any more, nor anything that `markOthers` names. */
export async function collectVersions(
  engine: Engine,
  registry: Registry,
  options: GcOptions & { pacing: Pacing },
  markOthers: MarkOthers,
): Promise<GcResult> {
  const { versions } = engine;
  const chunks = await engine.openChunks();
  const roots = {
    seq: () => {
      versions.refresh();
      return versions.seq;
    },
    mark: (visit: (digest: Uint8Array) => void) => {
      for (const record of registry.all()) visitVersion(chunks, record, visit);
      markOthers(chunks, visit);
    },
  };
  return collectGarbage(chunks, roots, options, options.pacing);
}

/** Recompresses the versions of a ref, or of all refs, but the newest of each. */
export async function recompressVersions(
  engine: Engine,
  registry: Registry,
  options: RecompressOptions & { ref?: string; pacing: Pacing },
): Promise<RecompressResult> {
  const chunks = await engine.openChunks();
  engine.versions.refresh();
  if (options.ref !== undefined) registry.versions(options.ref);
  const newest = new Map(registry.all().map((record) => [record.ref, record.version]));
  const older = registry
    .all()
    .filter(({ ref, version }) => version !== newest.get(ref) && ref === (options.ref ?? ref));
  const digests: Uint8Array[] = [];
  for (const record of older) visitVersion(chunks, record, (digest) => digests.push(digest));
  return recompress(chunks, digests, options, options.pacing);
}

/** A damaged version needs what is left of it; one that is not on record as damaged must be readable. */
function visitVersion(chunks: ChunkStore, record: VersionRecord, visit: (digest: Uint8Array) => void): void {
  try {
    for (const digest of manifestChunks(chunks, record.manifest)) visit(digest);
  } catch (error) {
    if (!record.damaged || !isStoreError(error, "ERR_STORE_CORRUPT")) throw error;
  }
}
