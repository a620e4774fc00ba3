import { invariant } from "../src/assert.ts";
import type { ChunkSave } from "../src/chunks/chunk-save.ts";
import { sameDigest } from "../src/chunks/digest.ts";
import type { ChunkSource, FileRange, OperandSource } from "../src/chunks/encode.job.ts";
import type { ReplayToTry } from "../src/chunks/encode-chunk.ts";
import type { EncodeRun } from "../src/chunks/encode-run.ts";
import type { Element } from "../src/codec/element.ts";
import { StoreError } from "../src/errors.ts";
import { CHUNK_BYTES_MAX, CUT_WINDOW_BYTES, JOB_BYTES, REPLAY_LEVELS_MAX } from "../src/limits.ts";
import { throwIfAborted } from "./aborted.ts";
import type { Bases } from "./bases.ts";
import { type Batch, batchesOf } from "./batches.ts";
import { type PlannedChunk, planChunks } from "./chunk-plan.ts";
import { ChunkLister } from "./listed-chunk.ts";
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

/** A chunk of the file; what it may resemble is looked for when its turn comes. */
interface ChunkAt {
  offset: number;
  rawBytes: number;
  element: Element;
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
  readonly #lister = new ChunkLister();
  readonly #inFlight: Promise<void>[] = [];
  readonly #staging: SharedArrayBuffer[] = [];
  /** By chunk of a tensor file, where chunks are predicted from others: how, and the batch that it is captured in. */
  #replays: (ChunkReplay | undefined)[] = [];
  readonly #batchOf: Batch<ChunkAt>[] = [];
  /** Captured pieces are read again, by chunks of later levels: they are given back with the rest of the capture. */
  #keepsPieces = false;
  #appended: Promise<void> = Promise.resolve();

  constructor(file: SourceFile, options: StoreChunksOptions) {
    this.#file = file;
    this.#options = options;
  }

  async tensors(): Promise<void> {
    const { layout, planned: given } = this.#file;
    const planned = given ?? planChunks(layout!, this.#file.sizeBytes);
    const basesOf = this.#options.bases.forTensors(this.#file);
    this.#replays = this.#planReplay(planned);
    if (this.#replays.length === 0) {
      for (const batch of batchesOf(planned)) await this.#submit(batch, batch, basesOf);
      return;
    }
    const batches = [...batchesOf(planned)];
    for (const batch of batches) this.#batchOf.push(...batch.chunks.map(() => batch));
    const levelOf = (place: number) => this.#replays[place]?.level ?? 0;
    this.#keepsPieces = planned.some((_, place) => levelOf(place) > 0);
    // What is predicted from other chunks of this version comes after them.
    for (let level = 0; level <= REPLAY_LEVELS_MAX; level++) {
      if (level > 0 && !planned.some((_, place) => levelOf(place) === level)) continue;
      if (level > 0) await this.#settled();
      for (const batch of batches) {
        for (const run of runsWithin(batch, (place) => levelOf(place) === level)) {
          await this.#submit(run, batch, basesOf);
        }
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
      chunks.push({ offset, rawBytes, element: "bytes" });
    }
    for (const batch of batchesOf(chunks)) await this.#submit(batch, batch, () => []);
  }

  /** An opaque file: cut by its content, so that what is inserted moves no later cut. */
  async opaque(path: string): Promise<void> {
    const { save, bases } = this.#options;
    const { sizeBytes, name } = this.#file;
    const parent = bases.opaque(name);
    let offset = 0;
    let first = 0;
    while (offset < sizeBytes) {
      const windowBytes = Math.min(CUT_WINDOW_BYTES, sizeBytes - offset);
      const last = offset + windowBytes === sizeBytes;
      const sizes = await save.cut({ path, offset, sizeBytes: windowBytes, last });
      if (sizes.length === 0) throw changed(path);
      const chunks = sizes.map((rawBytes): ChunkAt => {
        const at = offset;
        offset += rawBytes;
        return { offset: at, rawBytes, element: "bytes" };
      });
      const found = chunks.map((chunk) => parent?.at(chunk.offset, chunk.rawBytes) ?? []);
      for (const batch of batchesOf(chunks)) {
        const inFile = { ...batch, first: first + batch.first };
        const basesOf = (_: ChunkAt, place: number) => found[place - first]!;
        const onStored = (chunk: ChunkAt, digest: Uint8Array) => parent?.learn(chunk.offset, digest);
        await this.#submit(inFile, inFile, basesOf, onStored);
      }
      first += chunks.length;
    }
  }

  /** Encodes a run of chunks of a batch. */
  async #submit<C extends ChunkAt>(
    run: Batch<C>,
    batch: Batch<C>,
    basesOf: (chunk: C, place: number) => Uint8Array[],
    onStored?: (chunk: ChunkAt, digest: Uint8Array) => void,
  ): Promise<void> {
    throwIfAborted(this.#options.signal);
    if (this.#inFlight.length >= this.#options.jobsMax) await this.#inFlight.shift();
    const { source, release } = this.#source(run, batch);
    const chunks = run.chunks.map(({ rawBytes, element }, i) => {
      return { rawBytes, element, bases: basesOf(run.chunks[i]!, run.first + i) };
    });
    const parents = this.#parents(run, batch);
    const { replays, operands, releaseOperands } = this.#replaysOf(run);
    const options = { parents, ...(replays === undefined ? {} : { replays, operands }) };
    const encoded = this.#options.save.encode(source, chunks, options);
    // Answers are appended in the order of the jobs: a chunk known from an earlier answer is there by then.
    const step = this.#append(encoded, this.#appended, run, onStored).finally(() => {
      release();
      releaseOperands();
    });
    this.#appended = step;
    step.catch(() => {});
    this.#inFlight.push(step);
  }

  async #append(
    encoding: Promise<EncodeRun>,
    before: Promise<void>,
    { first, chunks, sizeBytes }: Batch<ChunkAt>,
    onStored: ((chunk: ChunkAt, digest: Uint8Array) => void) | undefined,
  ): Promise<void> {
    // Both are awaited whatever happens: a job must not outlive the memory it reads.
    const [encoded] = await settleAll(encoding, before);
    chunks.forEach((chunk, i) => {
      const digest = encoded.digest(i);
      this.#requireAsExpected(chunk, first + i, digest);
      this.#refs[first + i] = this.#lister.list(digest, chunk.rawBytes);
    });
    await this.#options.save.append(encoded);
    if (onStored !== undefined) {
      for (const [i, chunk] of chunks.entries()) onStored(chunk, this.#refs[first + i]!.digest);
    }
    this.#options.onBytes(sizeBytes);
  }

  /** How the chunks of a run may be predicted, if any of them is; and what of this file that reads. */
  #replaysOf({ first, chunks }: Batch<ChunkAt>): {
    replays: (ReplayToTry | undefined)[] | undefined;
    operands: OperandSource[];
    releaseOperands: () => void;
  } {
    const planned = chunks.map((_, i) => this.#replays[first + i]);
    if (planned.every((replay) => replay === undefined)) {
      return { replays: undefined, operands: [], releaseOperands: () => {} };
    }
    const { operands, releaseOperands, placeOf } = this.#operands(planned);
    const replays = planned.map((replay) => {
      if (replay === undefined) return undefined;
      const bases = replay.bases.map((base) => ("chunk" in base ? placeOf(base.chunk) : base.stored.digest));
      return { recipe: replay.recipe, bases };
    });
    return { replays, operands, releaseOperands };
  }

  /** The chunks of this file that the replays of a batch read; they were appended before. */
  #operands(replays: (ChunkReplay | undefined)[]): {
    operands: OperandSource[];
    releaseOperands: () => void;
    placeOf: (chunk: number) => number;
  } {
    const places = new Map<number, number>();
    const operands: OperandSource[] = [];
    const releases: (() => void)[] = [];
    for (const base of replays.flatMap((replay) => replay?.bases ?? [])) {
      if (!("chunk" in base) || places.has(base.chunk)) continue;
      const { digest, rawBytes } = this.#refs[base.chunk]!;
      const entry = this.#options.save.entryOf(digest);
      invariant(entry !== undefined, "a chunk of a lower level was appended before");
      const batch = this.#batchOf[base.chunk]!;
      const { offset } = batch.chunks[base.chunk - batch.first]!;
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
  #requireAsExpected(chunk: ChunkAt, place: number, digest: Uint8Array): void {
    const { origin, layout } = this.#file;
    if (!("capture" in origin) || origin.expected === undefined) return;
    if (sameDigest(origin.expected[place]!, digest)) return;
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

/** Runs of a batch's chunks that are wanted and lie one after the other. */
function* runsWithin<C extends ChunkAt>(
  batch: Batch<C>,
  wanted: (place: number) => boolean,
): Iterable<Batch<C>> {
  let run: Batch<C> | undefined;
  for (const [i, chunk] of batch.chunks.entries()) {
    const place = batch.first + i;
    if (!wanted(place)) {
      if (run !== undefined) yield run;
      run = undefined;
    } else if (run === undefined) {
      run = { offset: chunk.offset, sizeBytes: chunk.rawBytes, first: place, chunks: [chunk] };
    } else {
      run.chunks.push(chunk);
      run.sizeBytes += chunk.rawBytes;
    }
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
    `${tensors.slice(0, 3).join(", ")}${tensors.length > 3 ? ", ..." : ""}: written after save and before captured`,
    {
      context: { tensors },
      hint: "Nothing was stored under the ref. Await `ticket.tensorCaptured(name)`, or `captured`, before writing a tensor.",
    },
  );
}
