import type { ChunkSave, EncodedRun } from "../src/chunks/chunk-save.ts";
import type { ChunkSource, ChunkToEncode } from "../src/chunks/encode.job.ts";
import { StoreError } from "../src/errors.ts";
import { CHUNK_BYTES_MAX, CUT_WINDOW_BYTES, JOB_BYTES } from "../src/limits.ts";
import { throwIfAborted } from "./aborted.ts";
import type { Bases } from "./bases.ts";
import { planChunks } from "./chunk-plan.ts";
import type { ChunkRef } from "./manifest-format.ts";
import type { MemoryOrigin, SourceFile } from "./source.ts";

export interface StoreChunksOptions {
  save: ChunkSave;
  bases: Bases;
  /** Jobs in flight at once: bounds the memory a save takes. */
  jobsMax: number;
  signal: AbortSignal | undefined;
  onBytes: (bytes: number) => void;
  /** Told once memory that is not shared has been copied: how long that held the calling thread. */
  onCopied: (copyMs: number) => void;
}

interface ChunkAt extends ChunkToEncode {
  offset: number;
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
  #appended: Promise<void> = Promise.resolve();

  constructor(file: SourceFile, options: StoreChunksOptions) {
    this.#file = file;
    this.#options = options;
  }

  async tensors(): Promise<void> {
    const { bases } = this.#options;
    const chunks = planChunks(this.#file.layout!, this.#file.sizeBytes).map((chunk) => ({
      ...chunk,
      bases: bases.forTensors(this.#file.name, chunk),
    }));
    await this.#inBatches(chunks);
  }

  /** A blob in memory: cut at fixed places. */
  async blob(): Promise<void> {
    const chunks: ChunkAt[] = [];
    for (let offset = 0; offset < this.#file.sizeBytes; offset += CHUNK_BYTES_MAX) {
      const rawBytes = Math.min(CHUNK_BYTES_MAX, this.#file.sizeBytes - offset);
      chunks.push({ offset, rawBytes, element: "bytes", bases: [] });
    }
    await this.#inBatches(chunks);
  }

  /** An opaque file: cut by its content, so that what is inserted moves no later cut. */
  async opaque(path: string): Promise<void> {
    const { save, bases } = this.#options;
    const { sizeBytes, name } = this.#file;
    const parent = bases.opaque(name);
    let offset = 0;
    while (offset < sizeBytes) {
      const windowBytes = Math.min(CUT_WINDOW_BYTES, sizeBytes - offset);
      const last = offset + windowBytes === sizeBytes;
      const sizes = await save.cut({ path, offset, sizeBytes: windowBytes, last });
      if (sizes.length === 0) throw changed(path);
      const chunks = sizes.map((rawBytes) => {
        const at = offset;
        offset += rawBytes;
        return { offset: at, rawBytes, element: "bytes" as const, bases: parent?.at(at, rawBytes) ?? [] };
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
      if (batch.length > 0 && batchBytes + chunk.rawBytes > JOB_BYTES) {
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
    const chunks = batch.map(({ rawBytes, element, bases }) => ({ rawBytes, element, bases }));
    const encoded = this.#options.save.encode(source, chunks);
    // Answers are appended in the order of the jobs: a chunk known from an earlier answer is there by then.
    const step = this.#append(encoded, this.#appended, batch, onStored).finally(release);
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
      this.#refs.push({ digest, rawBytes: chunk.rawBytes });
      onStored(chunk, digest);
      this.#options.onBytes(chunk.rawBytes);
    });
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
