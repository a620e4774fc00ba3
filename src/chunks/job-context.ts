import type { Disk } from "../disk/disk.ts";
import { realDisk } from "../disk/real-disk.ts";
import { ChunkReader } from "./chunk-reader.ts";

/** What a job needs to find a store's chunks from its own thread: plain data, so that it can be sent. */
export interface ChunkPlace {
  packsDirectory: string;
  indexDirectory: string;
}

export interface JobContext {
  disk: Disk;
  reader: ChunkReader;
}

const contexts = new Map<string, Promise<JobContext>>();

/**
 * The disk and the reader a job of this thread uses for a store; opened once a thread and kept. The owner of an
 * inline pool registers its own, so that its jobs see the same index and the same (perhaps simulated) disk.
 */
export function jobContext(place: ChunkPlace): Promise<JobContext> {
  let context = contexts.get(place.packsDirectory);
  if (context === undefined) {
    context = openContext(place);
    contexts.set(place.packsDirectory, context);
  }
  return context;
}

export function registerJobContext(place: ChunkPlace, context: JobContext): void {
  contexts.set(place.packsDirectory, Promise.resolve(context));
}

export function forgetJobContext(place: ChunkPlace): void {
  contexts.delete(place.packsDirectory);
}

async function openContext(place: ChunkPlace): Promise<JobContext> {
  const { LmdbIndex } = await import("./lmdb-index.ts");
  const index = LmdbIndex.open(realDisk, place.indexDirectory, { readOnly: true });
  return { disk: realDisk, reader: await ChunkReader.open(realDisk, place.packsDirectory, index) };
}
