import { invariant } from "../src/assert.ts";
import type { ChunkSave } from "../src/chunks/chunk-save.ts";
import { sameDigest } from "../src/chunks/digest.ts";
import type {
  ChunkSource,
  ChunkToEncode,
  EncodedRun,
  FileRange,
  OperandSource,
} from "../src/chunks/encode.job.ts";
import { StoreError } from "../src/errors.ts";
import { CHUNK_BYTES_MAX, CUT_WINDOW_BYTES, JOB_BYTES, REPLAY_LEVELS_MAX } from "../src/limits.ts";
import { throwIfAborted } from "./aborted.ts";
import type { Bases } from "./bases.ts";
import { type Batch, batchesOf } from "./batches.ts";
import { type PlannedChunk, planChunks } from "./chunk-plan.ts";
import type { ChunkRef } from "./manifest-format.ts";
import { type ChunkReplay, planReplay } from "./optimizer/replay-plan.ts";
import type { CapturedOrigin, SourceFile } from "./source.ts";

export interface StoreChunksOptions {
  save: ChunkSave;
  bases: Bases;
  /** Jobs in flight at once: bounds the memory a save takes. */
  jobsMax: number;
  /** Whether to try optimizer steps: only where the parent may be one step back. */
  replays: boolean;
  signal: AbortSignal | undefined;
  onBytes: (bytes: number) => void;
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
  /** By chunk of a tensor file: the batch that it is captured in. */
  readonly #batchOf: Batch<ChunkAt>[] = [];
  /** Captured pieces are read again, by chunks of later levels: they are given back with the rest of the capture. */
  #keepsPieces = false;
  #appended: Promise<void> = Promise.resolve();

  constructor(file: SourceFile, options: StoreChunksOptions) {
    this.#file = file;
    this.#options = options;
  }

  async tensors(): Promise<void> {
    const { bases } = this.#options;
    const planned = planChunks(this.#file.layout!, this.#file.sizeBytes);
    const replays = this.#planReplay(planned);
    const chunks = planned.map((chunk, index): ChunkAt => {
      const replay = replays[index];
      const given = { ...chunk, index, bases: bases.forTensors(this.#file.name, chunk) };
      return replay === undefined ? given : { ...given, replay };
    });
    const batches = [...batchesOf(chunks)];
    for (const batch of batches) for (const { index } of batch.chunks) this.#batchOf[index] = batch;
    this.#keepsPieces = replays.some((replay) => (replay?.level ?? 0) > 0);
    // What is predicted from other chunks of this version comes after them.
    for (let level = 0; level <= REPLAY_LEVELS_MAX; level++) {
      if (level > 0 && !chunks.some(({ replay }) => replay?.level === level)) continue;
      if (level > 0) await this.#settled();
      for (const batch of batches) {
        const ofLevel = batch.chunks.filter(({ replay }) => (replay?.level ?? 0) === level);
        for (const run of contiguous(ofLevel)) await this.#submit(run, batch, () => {});
      }
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
    for (const batch of batchesOf(chunks)) await this.#submit(batch, batch, onStored);
  }

  /** Encodes a run of chunks of a batch. */
  async #submit(
    run: Batch<ChunkAt>,
    batch: Batch<ChunkAt>,
    onStored: (chunk: ChunkAt, digest: Uint8Array) => void,
  ): Promise<void> {
    throwIfAborted(this.#options.signal);
    if (this.#inFlight.length >= this.#options.jobsMax) await this.#inFlight.shift();
    const { source, release } = this.#source(run, batch);
    const { operands, releaseOperands, placeOf } = this.#operands(run.chunks);
    const chunks = run.chunks.map(({ rawBytes, element, bases, replay }): ChunkToEncode => {
      const chunk = { rawBytes, element, bases };
      if (replay === undefined) return chunk;
      const named = replay.bases.map((base) => ("chunk" in base ? placeOf(base.chunk) : base.stored.digest));
      return { ...chunk, replay: { recipe: replay.recipe, bases: named } };
    });
    const parents = this.#parents(run, batch);
    const encoded = this.#options.save.encode(source, chunks, { operands, parents });
    // Answers are appended in the order of the jobs: a chunk known from an earlier answer is there by then.
    const step = this.#append(encoded, this.#appended, run.chunks, onStored).finally(() => {
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
      this.#requireAsExpected(chunk, digest);
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
      const batch = this.#batchOf[base.chunk]!;
      const { offset } = batch.chunks.find(({ index }) => index === base.chunk)!;
      const { source, release } = this.#source({ offset, sizeBytes: rawBytes }, batch);
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

  /** In strict mode: what was captured must be what was there when the save began. */
  #requireAsExpected(chunk: ChunkAt, digest: Uint8Array): void {
    const { origin, layout } = this.#file;
    if (!("capture" in origin) || origin.expected === undefined) return;
    if (sameDigest(origin.expected[chunk.index]!, digest)) return;
    const end = chunk.offset + chunk.rawBytes;
    const touched = layout!.spans.filter(
      (span) => span.offset < end && span.offset + span.sizeBytes > chunk.offset,
    );
    throw writtenTooEarly(touched.map((span) => span.name));
  }

  /** Where the save before has a run's bytes of its time, raw. */
  #parents({ offset }: Stretch, batch: Stretch): FileRange | undefined {
    const { origin } = this.#file;
    if (!("capture" in origin) || origin.before === undefined) return undefined;
    const range = origin.before.rangeOf(pieceOf(origin, batch.offset));
    return range && { path: range.path, offset: range.offset + offset - batch.offset };
  }

  #source({ offset, sizeBytes }: Stretch, batch: Stretch): { source: ChunkSource; release: () => void } {
    const { origin } = this.#file;
    if ("path" in origin) return { source: { path: origin.path, offset }, release: () => {} };
    if ("capture" in origin) {
      const { source, release } = capturedSource(origin, batch.offset);
      const within = partOf(source, offset - batch.offset, sizeBytes);
      return { source: within, release: this.#keepsPieces ? () => {} : release };
    }
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

/** A run of a file's bytes. */
interface Stretch {
  offset: number;
  sizeBytes: number;
}

function partOf(source: ChunkSource, from: number, sizeBytes: number): ChunkSource {
  if ("bytes" in source) return { bytes: source.bytes.subarray(from, from + sizeBytes) };
  return { path: source.path, offset: source.offset + from };
}

/** Runs of chunks that lie one after the other. */
function* contiguous(chunks: ChunkAt[]): Iterable<Batch<ChunkAt>> {
  let run: Batch<ChunkAt> | undefined;
  for (const chunk of chunks) {
    if (run !== undefined && run.offset + run.sizeBytes === chunk.offset) {
      run.chunks.push(chunk);
      run.sizeBytes += chunk.rawBytes;
      continue;
    }
    if (run !== undefined) yield run;
    run = { offset: chunk.offset, sizeBytes: chunk.rawBytes, chunks: [chunk] };
  }
  if (run !== undefined) yield run;
}

/** Room for one batch of a blob. */
const STAGE_BYTES = Math.max(JOB_BYTES, CHUNK_BYTES_MAX);

function pieceOf({ plan }: CapturedOrigin, offset: number): number {
  const piece = plan.pieceAt(offset);
  invariant(piece !== undefined, "tensors are captured in the batches they are encoded in");
  return piece;
}

function capturedSource(
  origin: CapturedOrigin,
  offset: number,
): { source: ChunkSource; release: () => void } {
  const { capture } = origin;
  const piece = pieceOf(origin, offset);
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
