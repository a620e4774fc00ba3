import { invariant } from "../src/assert.ts";
import type { ChunkSave, EncodedRun } from "../src/chunks/chunk-save.ts";
import { sameDigest } from "../src/chunks/digest.ts";
import type { ChunkSource, ChunkToEncode } from "../src/chunks/encode.job.ts";
import { StoreError } from "../src/errors.ts";
import { CHUNK_BYTES_MAX, CUT_WINDOW_BYTES, JOB_BYTES } from "../src/limits.ts";
import { throwIfAborted } from "./aborted.ts";
import type { Bases } from "./bases.ts";
import { batchesOf } from "./batches.ts";
import { planChunks } from "./chunk-plan.ts";
import type { ChunkRef } from "./manifest-format.ts";
import type { CapturedOrigin, SourceFile } from "./source.ts";

export interface StoreChunksOptions {
  save: ChunkSave;
  bases: Bases;
  /** Jobs in flight at once: bounds the memory a save takes. */
  jobsMax: number;
  signal: AbortSignal | undefined;
  onBytes: (bytes: number) => void;
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
    for (const batch of batchesOf(chunks)) await this.#submit(batch.chunks, batch.sizeBytes, onStored);
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
      this.#requireAsExpected(chunk, digest);
      this.#refs.push({ digest, rawBytes: chunk.rawBytes });
      onStored(chunk, digest);
      this.#options.onBytes(chunk.rawBytes);
    });
  }

  /** In strict mode: what was captured must be what was there when the save began. */
  #requireAsExpected(chunk: ChunkAt, digest: Uint8Array): void {
    const { origin, layout } = this.#file;
    if (!("capture" in origin) || origin.expected === undefined) return;
    if (sameDigest(origin.expected[this.#refs.length]!, digest)) return;
    const end = chunk.offset + chunk.rawBytes;
    const touched = layout!.spans.filter(
      (span) => span.offset < end && span.offset + span.sizeBytes > chunk.offset,
    );
    throw writtenTooEarly(touched.map((span) => span.name));
  }

  #source(offset: number, sizeBytes: number): { source: ChunkSource; release: () => void } {
    const { origin } = this.#file;
    if ("path" in origin) return { source: { path: origin.path, offset }, release: () => {} };
    if ("capture" in origin) return capturedSource(origin, offset);
    invariant("bytes" in origin, "touched rows are stored by storeTouched");
    const bytes = new Uint8Array(this.#staging.pop() ?? new SharedArrayBuffer(STAGE_BYTES), 0, sizeBytes);
    bytes.set(origin.bytes.subarray(offset, offset + sizeBytes));
    return { source: { bytes }, release: () => this.#staging.push(bytes.buffer as SharedArrayBuffer) };
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

/** Room for one batch of a blob. */
const STAGE_BYTES = Math.max(JOB_BYTES, CHUNK_BYTES_MAX);

function capturedSource(
  { capture, plan }: CapturedOrigin,
  offset: number,
): { source: ChunkSource; release: () => void } {
  const piece = plan.pieceAt(offset);
  invariant(piece !== undefined, "tensors are captured in the batches they are encoded in");
  return { source: capture.bytesOf(piece), release: () => capture.release(piece) };
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

/** In strict mode: a trainer wrote these tensors after `save` and before they were captured. */
export function writtenTooEarly(tensors: string[]): StoreError {
  return new StoreError(
    "ERR_CONFLICT",
    `${tensors.slice(0, 3).join(", ")}${tensors.length > 3 ? ", …" : ""}: written after save and before captured`,
    {
      context: { tensors },
      hint: "Nothing was stored under the ref. Await `ticket.tensorCaptured(name)`, or `captured`, before writing a tensor.",
    },
  );
}
