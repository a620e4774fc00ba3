import { invariant } from "../src/assert.ts";
import type { ChunkSave, EncodedRun } from "../src/chunks/chunk-save.ts";
import type { ChunkSource, ChunkToEncode, OperandSource } from "../src/chunks/encode.job.ts";
import { StoreError } from "../src/errors.ts";
import { CHUNK_BYTES_MAX, CUT_WINDOW_BYTES, JOB_BYTES, REPLAY_LEVELS_MAX } from "../src/limits.ts";
import { throwIfAborted } from "./aborted.ts";
import type { Bases } from "./bases.ts";
import { type PlannedChunk, planChunks } from "./chunk-plan.ts";
import type { ChunkRef } from "./manifest-format.ts";
import { type ChunkReplay, planReplay } from "./optimizer/replay-plan.ts";
import type { MemoryOrigin, SourceFile } from "./source.ts";

export interface StoreChunksOptions {
  save: ChunkSave;
  bases: Bases;
  /** Jobs in flight at once: bounds the memory a save takes. */
  jobsMax: number;
  /** Whether to try optimizer steps: only where the parent may be one step back. */
  replays: boolean;
  signal: AbortSignal | undefined;
  onBytes: (bytes: number) => void;
  /** Told once memory that is not shared has been copied: how long that held the calling thread. */
  onCopied: (copyMs: number) => void;
}

interface ChunkAt extends Omit<ChunkToEncode, "replay"> {
  offset: number;
  /** Place in the file. */
  index: number;
  replay?: ChunkReplay;
}

/** Stores a file's chunks and says which they are, in file order. */
export async function storeChunks(file: SourceFile, options: StoreChunksOptions): Promise<ChunkRef[]> {
  const storing = new Storing(file, options);
  try {
    if (file.layout !== undefined) await storing.tensors();
    else if ("path" in file.origin) await storing.opaque(file.origin.path);
    else await storing.blob();
  } catch (error) {
    await storing.settle();
    throw error;
  }
  return storing.finish();
}

class Storing {
  readonly #file: SourceFile;
  readonly #options: StoreChunksOptions;
  readonly #refs: ChunkRef[] = [];
  readonly #inFlight: Promise<void>[] = [];
  readonly #staging: SharedArrayBuffer[] = [];
  /** Where a tensor file's chunks begin. */
  #offsets: number[] = [];
  #appended: Promise<void> = Promise.resolve();

  constructor(file: SourceFile, options: StoreChunksOptions) {
    this.#file = file;
    this.#options = options;
  }

  async tensors(): Promise<void> {
    const { bases } = this.#options;
    const planned = planChunks(this.#file.layout!, this.#file.sizeBytes);
    const replays = this.#planReplay(planned);
    this.#offsets = planned.map(({ offset }) => offset);
    const chunks = planned.map((chunk, index): ChunkAt => {
      const replay = replays[index];
      const given = { ...chunk, index, bases: bases.forTensors(this.#file.name, chunk) };
      return replay === undefined ? given : { ...given, replay };
    });
    // What is predicted from other chunks of this version comes after them.
    for (let level = 0; level <= REPLAY_LEVELS_MAX; level++) {
      const ofLevel = chunks.filter(({ replay }) => (replay?.level ?? 0) === level);
      if (ofLevel.length === 0) continue;
      if (level > 0) await this.#settled();
      await this.#inBatches(ofLevel);
    }
  }

  #planReplay(chunks: PlannedChunk[]): (ChunkReplay | undefined)[] {
    const { layout, optimizer, name } = this.#file;
    const parent = this.#options.bases.parentOf(name);
    if (parent?.layout === undefined || !this.#options.replays) return [];
    return planReplay({
      layout: layout!,
      chunks,
      parent: { ...parent, layout: parent.layout },
      settings: optimizer ?? {},
    });
  }

  /** A blob in memory: cut at fixed places. */
  async blob(): Promise<void> {
    const chunks: ChunkAt[] = [];
    for (let offset = 0; offset < this.#file.sizeBytes; offset += CHUNK_BYTES_MAX) {
      const rawBytes = Math.min(CHUNK_BYTES_MAX, this.#file.sizeBytes - offset);
      chunks.push({ offset, rawBytes, element: "bytes", bases: [], index: chunks.length });
    }
    await this.#inBatches(chunks);
  }

  /** An opaque file: cut by its content, so that what is inserted moves no later cut. */
  async opaque(path: string): Promise<void> {
    const { save, bases } = this.#options;
    const { sizeBytes, name } = this.#file;
    const parent = bases.opaque(name);
    let offset = 0;
    let index = 0;
    while (offset < sizeBytes) {
      const windowBytes = Math.min(CUT_WINDOW_BYTES, sizeBytes - offset);
      const last = offset + windowBytes === sizeBytes;
      const sizes = await save.cut({ path, offset, sizeBytes: windowBytes, last });
      if (sizes.length === 0) throw changed(path);
      const chunks = sizes.map((rawBytes) => {
        const at = offset;
        offset += rawBytes;
        const found = parent?.at(at, rawBytes) ?? [];
        return { offset: at, rawBytes, element: "bytes" as const, bases: found, index: index++ };
      });
      await this.#inBatches(chunks, (chunk, digest) => parent?.learn(chunk.offset, digest));
    }
  }

  async #inBatches(
    chunks: ChunkAt[],
    onStored: (chunk: ChunkAt, digest: Uint8Array) => void = () => {},
  ): Promise<void> {
    let batch: ChunkAt[] = [];
    let batchBytes = 0;
    for (const chunk of chunks) {
      const apart = batch.length > 0 && batch[0]!.offset + batchBytes !== chunk.offset;
      if (batch.length > 0 && (apart || batchBytes + chunk.rawBytes > JOB_BYTES)) {
        await this.#submit(batch, batchBytes, onStored);
        batch = [];
        batchBytes = 0;
      }
      batch.push(chunk);
      batchBytes += chunk.rawBytes;
    }
    if (batch.length > 0) await this.#submit(batch, batchBytes, onStored);
  }

  async #submit(
    batch: ChunkAt[],
    batchBytes: number,
    onStored: (chunk: ChunkAt, digest: Uint8Array) => void,
  ): Promise<void> {
    throwIfAborted(this.#options.signal);
    if (this.#inFlight.length >= this.#options.jobsMax) await this.#inFlight.shift();
    const { source, release } = this.#source(batch[0]!.offset, batchBytes);
    const { operands, releaseOperands, placeOf } = this.#operands(batch);
    const chunks = batch.map(({ rawBytes, element, bases, replay }): ChunkToEncode => {
      const chunk = { rawBytes, element, bases };
      if (replay === undefined) return chunk;
      const named = replay.bases.map((base) => ("chunk" in base ? placeOf(base.chunk) : base.stored.digest));
      return { ...chunk, replay: { recipe: replay.recipe, bases: named } };
    });
    const encoded = this.#options.save.encode(source, chunks, operands);
    // Answers are appended in the order of the jobs: a chunk known from an earlier answer is there by then.
    const step = this.#append(encoded, this.#appended, batch, onStored).finally(() => {
      release();
      releaseOperands();
    });
    this.#appended = step;
    step.catch(() => {});
    this.#inFlight.push(step);
  }

  async #append(
    encoded: Promise<EncodedRun>,
    before: Promise<void>,
    batch: ChunkAt[],
    onStored: (chunk: ChunkAt, digest: Uint8Array) => void,
  ): Promise<void> {
    // Both are awaited whatever happens: a job must not outlive the memory it reads.
    const [run] = await settleAll(encoded, before);
    await this.#options.save.append(run);
    batch.forEach((chunk, i) => {
      const { digest } = run.answers[i]!;
      this.#refs[chunk.index] = { digest, rawBytes: chunk.rawBytes };

      onStored(chunk, digest);
      this.#options.onBytes(chunk.rawBytes);
    });
  }

  /** The chunks of this file that the replays of a batch read; they were appended before. */
  #operands(batch: ChunkAt[]): {
    operands: OperandSource[];
    releaseOperands: () => void;
    placeOf: (chunk: number) => number;
  } {
    const places = new Map<number, number>();
    const operands: OperandSource[] = [];
    const releases: (() => void)[] = [];
    for (const base of batch.flatMap(({ replay }) => replay?.bases ?? [])) {
      if (!("chunk" in base) || places.has(base.chunk)) continue;
      const { digest, rawBytes } = this.#refs[base.chunk]!;
      const entry = this.#options.save.entryOf(digest);
      invariant(entry !== undefined, "a chunk of a lower level was appended before");
      const { source, release } = this.#source(this.#offsets[base.chunk]!, rawBytes);
      places.set(base.chunk, operands.length);
      operands.push({ source, rawBytes, digest, depth: entry.depth, costKiB: entry.costKiB });
      releases.push(release);
    }
    return {
      operands,
      releaseOperands: () => {
        for (const release of releases) release();
      },
      placeOf: (chunk) => places.get(chunk)!,
    };
  }

  /** Waits until everything submitted so far is appended. */
  async #settled(): Promise<void> {
    await Promise.all(this.#inFlight);
    await this.#appended;
  }

  #source(offset: number, sizeBytes: number): { source: ChunkSource; release: () => void } {
    const { origin } = this.#file;
    if ("path" in origin) return { source: { path: origin.path, offset }, release: () => {} };
    const shared = origin.shared(offset, sizeBytes);
    if (shared !== undefined) return { source: { bytes: shared }, release: () => {} };
    return this.#stage(origin, offset, sizeBytes);
  }

  #stage(
    origin: MemoryOrigin,
    offset: number,
    sizeBytes: number,
  ): { source: ChunkSource; release: () => void } {
    const buffer = this.#staging.pop() ?? new SharedArrayBuffer(Math.max(JOB_BYTES, CHUNK_BYTES_MAX));
    const bytes = new Uint8Array(buffer, 0, sizeBytes);
    const start = performance.now();
    origin.copy(offset, bytes);
    this.#options.onCopied(performance.now() - start);
    return { source: { bytes }, release: () => this.#staging.push(buffer) };
  }

  async finish(): Promise<ChunkRef[]> {
    await this.settle();
    await this.#appended;
    return this.#refs;
  }

  /** Waits for every job, failed or not: none may outlive the memory it reads. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#inFlight);
  }
}

async function settleAll<A, B>(first: Promise<A>, second: Promise<B>): Promise<[A, B]> {
  const [a, b] = await Promise.allSettled([first, second]);
  if (b.status === "rejected") throw b.reason;
  if (a.status === "rejected") throw a.reason;
  return [a.value, b.value];
}

/** The file's size or time is not what it was when the save began. */
export function changed(path: string): StoreError {
  return new StoreError("ERR_CONFLICT", `${path} was written while it was being saved`, {
    context: { path },
    retryable: true,
    hint: "Nothing was stored under the ref. Save files that are complete.",
  });
}
