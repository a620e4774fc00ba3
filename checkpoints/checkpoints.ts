import type { Tensor } from "../formats/tensor.ts";
import { type CaptureStats, Captures } from "../src/capture/captures.ts";
import type { GcOptions, GcResult } from "../src/chunks/gc.ts";
import { isStoreError, StoreError } from "../src/errors.ts";
import type { Engine } from "../src/store.ts";
import { allocateTensors, type TensorSpec } from "./allocate.ts";
import { Checkpoint } from "./checkpoint.ts";
import type { DiffOptions, TensorDiff } from "./diff.ts";
import { ChunkExchange } from "./exchange.ts";
import type { ManifestFile } from "./manifest-format.ts";
import { Registry, type VersionRecord } from "./registry.ts";
import type { RestoredFiles, RestoreFilesOptions } from "./restore-files.ts";
import { type PruneOptions, type PruneResult, planPrune } from "./retention.ts";
import type { SaveOptions, SaveResult } from "./save.ts";
import { SaveQueue } from "./save-queue.ts";
import { resolveSelector } from "./selector.ts";
import { entriesOf, type NamedTensors, TensorSources } from "./tensor-source.ts";
import type { SaveTicket } from "./ticket.ts";
import { type LoopOptions, type TrainingStep, trainingLoop } from "./training-loop.ts";

export interface RefInfo {
  ref: string;
  /** The current version. */
  version: number;
  versions: number;
  step: number | undefined;
  timeUs: bigint;
  logicalBytes: number;
  /** All its versions together. */
  storedBytes: number;
}

/** A version as callers see it: the manifest's digest in hexadecimal. */
export interface VersionInfo extends Omit<VersionRecord, "manifest"> {
  manifest: string;
}

export interface VersionDetails extends VersionInfo {
  fileList: {
    name: string;
    /** `safetensors`, or `opaque` for a file whose content varve knows nothing of. */
    format: string;
    sizeBytes: number;
    tensors: { name: string; dtype: string; shape: number[]; sizeBytes: number }[];
  }[];
}

export interface CheckpointsOptions {
  /** Told of a save that failed while nobody was watching its ticket. */
  onError?: ((error: unknown) => void) | undefined;
  /** Memory in which captured tensors wait for the encoder; at least 1 MiB. Default: 64 MiB. */
  stagingBytes?: number | undefined;
  /** Bytes of scratch files in which more of them wait. Default: 2 GiB. */
  spoolBytes?: number | undefined;
  /** Hash tensors on the calling thread and hold every save to it: finds trainers that write too early. For tests. */
  strict?: boolean | undefined;
}

/** Model checkpoints: versions of tensors and files under refs. */
export class Checkpoints {
  readonly registry: Registry;
  /**
   * Versions in parts, for clients that hold their own copy: which chunks are missing, chunks, manifests, refs. To be
   * used once `openChunks` has resolved.
   */
  readonly exchange: ChunkExchange;
  readonly #engine: Engine;
  readonly #captures: Captures;
  readonly #saves: SaveQueue;
  readonly #sources = new TensorSources();
  /** Collections, tags and prunes under way: `close` waits for them too. */
  readonly #changing = new Set<Promise<unknown>>();
  #closed = false;

  constructor(engine: Engine, options: CheckpointsOptions) {
    this.#engine = engine;
    this.registry = new Registry(engine.versions);
    this.exchange = new ChunkExchange(engine, this.registry, (step) => this.#change(step));
    const { onError, strict = false, stagingBytes, spoolBytes } = options;
    const { disk, pool, directory } = engine;
    this.#captures = new Captures({ disk, pool, directory: `${directory}/spool`, stagingBytes, spoolBytes });
    this.#saves = new SaveQueue({
      engine,
      registry: this.registry,
      captures: this.#captures,
      strict,
      onError,
    });
  }

  /**
   * Zeroed tensors in shared memory, each from a page boundary on: what saves capture beside the caller's own work.
   * The memory is the caller's and lives as long as the arrays.
   * @throws `ERR_INVALID_ARGUMENT`; `ERR_LIMIT` for a tensor over 4 GiB
   * @example
   * const { w, b } = store.checkpoints.allocate({ w: { dtype: "F32", shape: [512, 128] }, b: { dtype: "F32", shape: [128] } });
   */
  allocate<Name extends string>(specs: Record<Name, TensorSpec>): Record<Name, Tensor> {
    this.#requireOpen();
    // Whoever allocates is going to save or restore: the first of it should not wait for threads to start.
    this.#engine.pool.warm();
    return allocateTensors(specs);
  }

  /**
   * The steps of a training loop that saves as it goes and goes on where it was: each step reads the tensors freely
   * and writes them in `update`, which waits until the save before has captured them.
   * @throws `ERR_ABORTED`, and whatever a save failed with, at the next step
   * @example
   * for await (const step of store.checkpoints.loop("btc-lstm", tensors, { steps: 10_000, every: 100 })) {
   *   const { gradients, loss } = backward(tensors, batch(step.step));
   *   step.report({ metrics: { loss } });
   *   await step.update(() => descend(tensors, gradients));
   * }
   */
  loop(
    ref: string,
    tensors: Record<string, Tensor> | ReadonlyMap<string, Tensor>,
    options: LoopOptions = {},
  ): AsyncGenerator<TrainingStep, void, undefined> {
    this.#requireOpen();
    const store = {
      has: (name: string) => this.refs().some(({ ref: known }) => known === name),
      save: (name: string, what: NamedTensors, how: SaveOptions) => this.save(name, what, how),
      restoreInto: (selector: string, into: NamedTensors, how: { signal?: AbortSignal }) =>
        this.restoreInto(selector, into, how),
    };
    return trainingLoop(store, ref, tensors, options);
  }

  /** What capturing has done since the store was opened. */
  captureStats(): CaptureStats {
    return this.#captures.stats();
  }

  /**
   * Saves tensors as the next version of a ref and returns at once.
   *
   * A tensor must not change until the ticket's `tensorCaptured` (or `captured`, for all of them) resolves. Shared
   * memory (`allocate`) is captured by worker threads; of other memory, up to 8 MiB are copied before this returns.
   * @throws `ERR_INVALID_ARGUMENT`, `ERR_LIMIT`; and the failure of an earlier save that nobody was told of.
   * @example
   * const ticket = store.checkpoints.save("btc-lstm", { w: { dtype: "F32", shape: [2], data } }, { step: 100 });
   * await ticket.captured; // data may be overwritten
   * const { version } = await ticket.durable;
   */
  save(ref: string, tensors: NamedTensors, options: SaveOptions = {}): SaveTicket {
    this.#requireOpen();
    return this.#saves.saveTensors(ref, this.#sources.of(tensors), options);
  }

  /**
   * Saves files, or directories of them, as one version. `step` defaults to the `__metadata__.step` of a safetensors
   * file among them. A malformed file is refused before anything is stored.
   */
  async saveFiles(ref: string, paths: string[], options: SaveOptions = {}): Promise<SaveResult> {
    this.#requireOpen();
    const { openSourceFiles } = await import("./source-files.ts");
    const opened = openSourceFiles(this.#engine.disk, paths);
    const step = options.step ?? stepIn(opened.map(({ metadata }) => metadata));
    const files = opened.map(({ file }) => file);
    return this.#saves.saveFiles(ref, files, { ...options, ...(step === undefined ? {} : { step }) }).durable;
  }

  /** Opens the chunk store now; everything that needs it opens it otherwise, on first use. */
  async openChunks(): Promise<void> {
    await this.#engine.openChunks();
  }

  /** Opens a version (`REF` or `REF@SELECTOR`) without reading its tensors. */
  async open(selector: string): Promise<Checkpoint> {
    const record = this.#resolve(selector);
    await this.#engine.openChunks();
    return new Checkpoint(this.#engine, record);
  }

  /**
   * Reads all tensors of a version into new memory.
   * @throws `ERR_INVALID_ARGUMENT` when several of its files have a tensor of one name: name the file.
   */
  async restore(
    selector: string,
    options: { file?: string; signal?: AbortSignal } = {},
  ): Promise<Map<string, Tensor>> {
    const checkpoint = await this.open(selector);
    const tensors = new Map<string, Tensor>();
    for (const { name, file } of checkpoint.tensors) {
      if (options.file !== undefined && file !== options.file) continue;
      const from = options.file === undefined ? {} : { file };
      tensors.set(name, await checkpoint.tensor(name, { ...from, signal: options.signal }));
    }
    return tensors;
  }

  /** Reads into tensors that exist; each must be in the version with the same dtype and shape. */
  async restoreInto(
    selector: string,
    tensors: NamedTensors,
    options: { file?: string; signal?: AbortSignal } = {},
  ): Promise<Checkpoint> {
    const checkpoint = await this.open(selector);
    const targets = [...entriesOf(tensors)];
    // All of them fit, or none is touched.
    for (const [name, tensor] of targets) checkpoint.requireFit(name, tensor, options.file);
    for (const [name, tensor] of targets) await checkpoint.tensorInto(name, tensor, options);
    return checkpoint;
  }

  /** Writes a version's files, byte for byte as they were saved, or a safetensors file of some of its tensors. */
  async restoreFiles(selector: string, options: RestoreFilesOptions): Promise<RestoredFiles> {
    const { restoreFiles } = await import("./restore-files.ts");
    return restoreFiles(this.#engine, await this.open(selector), options);
  }

  async readResume(selector: string): Promise<Uint8Array | undefined> {
    return (await this.open(selector)).resume();
  }

  refs(): RefInfo[] {
    this.#requireOpen();
    this.#engine.versions.refresh();
    const byRef = new Map<string, VersionRecord[]>();
    for (const record of this.registry.all())
      byRef.set(record.ref, [...(byRef.get(record.ref) ?? []), record]);
    return [...byRef].map(([ref, records]) => {
      const { version, step, timeUs, logicalBytes } = records.at(-1)!;
      const storedBytes = records.reduce((sum, record) => sum + record.storedBytes, 0);
      return { ref, version, versions: records.length, step, timeUs, logicalBytes, storedBytes };
    });
  }

  /** A ref's versions, oldest first. */
  log(ref: string): VersionInfo[] {
    this.#requireOpen();
    this.#engine.versions.refresh();
    return this.registry.versions(ref).map(toInfo);
  }

  async show(selector: string): Promise<VersionDetails> {
    const checkpoint = await this.open(selector);
    return { ...toInfo(checkpoint.record), fileList: checkpoint.files.map(describeFile) };
  }

  /** Compares two versions tensor by tensor. */
  async diff(a: string, b: string, options: DiffOptions = {}): Promise<TensorDiff[]> {
    const { diffCheckpoints } = await import("./diff.ts");
    return diffCheckpoints(this.#engine, await this.open(a), await this.open(b), options);
  }

  /** Gives a version an immutable name. */
  async tag(selector: string, name: string): Promise<{ ref: string; version: number; tag: string }> {
    const { ref, version } = this.#resolve(selector);
    await this.#change(() => this.registry.tag(ref, version, name));
    return { ref, version, tag: name };
  }

  /** Takes versions out of the history by the rules given; the current one and tagged ones always stay. */
  async prune(ref: string, options: PruneOptions): Promise<PruneResult> {
    this.#requireOpen();
    this.#engine.versions.refresh();
    const plan = planPrune(this.registry.versions(ref), options);
    if (options.dryRun) return { ref, ...plan };
    const pruned = await this.#change(() => this.registry.remove(ref, plan.pruned));
    return { ref, kept: this.registry.versions(ref).map((record) => record.version), pruned };
  }

  /** Removes chunks that no version needs any more. */
  collectGarbage(options: GcOptions = {}): Promise<GcResult> {
    return this.#change(() => this.#collect(options));
  }

  async #collect(options: GcOptions): Promise<GcResult> {
    const { versions } = this.#engine;
    const chunks = await this.#engine.openChunks();
    const { collectGarbage } = await import("../src/chunks/gc.ts");
    const { manifestChunks } = await import("./manifest-chunks.ts");
    const visitVersion = (record: VersionRecord, visit: (digest: Uint8Array) => void): void => {
      try {
        for (const digest of manifestChunks(chunks, record.manifest)) visit(digest);
      } catch (error) {
        // A damaged version needs what is left of it; one that is not on record as damaged must be readable.
        if (!record.damaged || !isStoreError(error, "ERR_STORE_CORRUPT")) throw error;
      }
    };
    const roots = {
      seq: () => {
        versions.refresh();
        return versions.seq;
      },
      mark: (visit: (digest: Uint8Array) => void) => {
        for (const record of this.registry.all()) visitVersion(record, visit);
      },
    };
    return collectGarbage(chunks, roots, options);
  }

  #change<T>(step: () => Promise<T>): Promise<T> {
    this.#requireOpen();
    const change = step();
    this.#changing.add(change);
    const forget = () => this.#changing.delete(change);
    change.then(forget, forget);
    return change;
  }

  #requireOpen(): void {
    if (this.#closed) {
      throw new StoreError("ERR_CLOSED", `${this.#engine.directory} is closed`, {
        hint: "Open the store again.",
      });
    }
  }

  #resolve(selector: string): VersionRecord {
    this.#requireOpen();
    this.#engine.versions.refresh();
    return resolveSelector(this.registry, selector);
  }

  /** Takes no more work and waits for the saves and changes in flight, however they end. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled([this.#saves.settle(), ...this.#changing]);
    this.#captures.close();
  }
}

function toInfo({ manifest, ...record }: VersionRecord): VersionInfo {
  return { ...record, manifest: Buffer.from(manifest).toString("hex") };
}

function describeFile({ name, sizeBytes, layout }: ManifestFile): VersionDetails["fileList"][number] {
  const tensors = (layout?.spans ?? []).map((span) => ({
    name: span.name,
    dtype: span.dtype,
    shape: span.shape,
    sizeBytes: span.sizeBytes,
  }));
  return { name, format: layout?.format ?? "opaque", sizeBytes, tensors };
}

function stepIn(metadata: ReadonlyMap<string, string>[]): number | undefined {
  for (const entries of metadata) {
    const text = entries.get("step");
    if (text !== undefined && /^\d{1,15}$/.test(text)) return Number(text);
  }
  return undefined;
}
