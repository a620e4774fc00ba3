import type { Tensor } from "../formats/tensor.ts";
import { type CaptureStats, Captures } from "../src/capture/captures.ts";
import type { GcOptions, GcResult } from "../src/chunks/gc.ts";
import type { Pacing } from "../src/chunks/pacing.ts";
import type { RecompressOptions, RecompressResult } from "../src/chunks/recompress.ts";
import { StoreError } from "../src/errors.ts";
import { IO_BUDGET_BYTES_PER_SECOND } from "../src/limits.ts";
import { CALLBACK, checkOptions, FLAG, RATE, SIGNAL, TEXT } from "../src/options.ts";
import { TokenBucket } from "../src/pace/token-bucket.ts";
import type { Engine } from "../src/store.ts";
import { allocateTensors, type TensorSpec } from "./allocate.ts";
import { eachOf } from "./at-once.ts";
import type { TensorChanges } from "./changes.ts";
import { Checkpoint } from "./checkpoint.ts";
import type { DiffOptions, TensorDiff } from "./diff.ts";
import type { VersionEncodings } from "./encodings.ts";
import { ChunkExchange } from "./exchange.ts";
import type { FollowOptions } from "./follow.ts";
import type { CheckpointsOptions } from "./options.ts";
import { type PinnedModel, Pins } from "./pins.ts";
import { RefMoves } from "./ref-moves.ts";
import { Registry, type VersionRecord } from "./registry.ts";
import type { RestoredFiles, RestoreFilesOptions } from "./restore-files.ts";
import { type PruneOptions, type PruneResult, planPrune } from "./retention.ts";
import type { SaveOptions, SaveResult } from "./save.ts";
import { SaveQueue } from "./save-queue.ts";
import { resolveSelector } from "./selector.ts";
import type { ServedModel, ServeModelOptions } from "./serving/served-model.ts";
import { entriesOf, type NamedTensors, TensorSources } from "./tensor-source.ts";
import type { SaveTicket } from "./ticket.ts";
import { type LoopOptions, type TrainingStep, trainingLoop } from "./training-loop.ts";
import type { MarkOthers } from "./upkeep.ts";
import { stepIn } from "./version-fields.ts";
import {
  describeFile,
  type RefInfo,
  toInfo,
  toRefs,
  type VersionDetails,
  type VersionInfo,
} from "./version-info.ts";

/** Model checkpoints: versions of tensors and files under refs. */
export class Checkpoints {
  readonly registry: Registry;
  /**
   * Versions in parts, for clients that hold their own copy: which chunks are missing, chunks, manifests, refs. To be
   * used once its `open` has resolved.
   */
  readonly exchange: ChunkExchange;
  /** What all background writing of the store takes from. */
  readonly budget: TokenBucket;
  readonly #pacing: Pacing;
  readonly #engine: Engine;
  readonly #captures: Captures;
  readonly #saves: SaveQueue;
  readonly #pins: Pins;
  readonly #strict: boolean;
  readonly #sources = new TensorSources();
  /** Collections, tags and prunes under way: `close` waits for them too. */
  readonly #changing = new Set<Promise<unknown>>();
  readonly #closing = new AbortController();
  readonly #moves = new RefMoves();
  #closed = false;

  constructor(engine: Engine, options: CheckpointsOptions) {
    this.#engine = engine;
    this.registry = new Registry(engine.versions);
    this.exchange = new ChunkExchange(engine, this.registry, (step) => this.#change(step));
    const {
      onError,
      strict = false,
      stagingBytes,
      spoolBytes,
      ioBudget = IO_BUDGET_BYTES_PER_SECOND,
    } = options;
    this.budget = new TokenBucket(ioBudget);
    this.#pacing = { budget: this.budget, hurry: this.#closing.signal };
    this.#pins = new Pins(engine, this.registry, this.budget);
    this.#strict = strict;
    const { disk, pool, directory } = engine;
    this.#captures = new Captures({ disk, pool, directory: `${directory}/spool`, stagingBytes, spoolBytes });
    this.#saves = new SaveQueue({
      engine,
      registry: this.registry,
      captures: this.#captures,
      strict,
      onError,
      onDurable: ({ ref }) => {
        this.#moves.tell();
        this.#pins.follow(ref);
      },
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
    checkOptions("loop", options, { signal: SIGNAL, resume: FLAG, onDurable: CALLBACK });
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
   * memory (`allocate`) is captured by worker threads; of other memory, up to `stagingBytes` are copied before this returns.
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
    checkOptions("restore", options, { file: TEXT, signal: SIGNAL });
    const fromImage = await this.#restoreImage(selector, options.file);
    if (fromImage !== undefined) return fromImage;
    this.#engine.pool.warm();
    const checkpoint = await this.open(selector);
    const wanted = checkpoint.tensors.filter(
      ({ file }) => options.file === undefined || file === options.file,
    );
    if (options.file !== undefined) checkpoint.file(options.file);
    const tensors = new Array<[string, Tensor]>(wanted.length);
    await eachOf([...wanted.entries()], async ([i, { name }]) => {
      const from = options.file === undefined ? {} : { file: options.file };
      tensors[i] = [name, await checkpoint.tensor(name, { ...from, signal: options.signal })];
    });
    return new Map(tensors);
  }

  async #restoreImage(selector: string, file: string | undefined): Promise<Map<string, Tensor> | undefined> {
    if (file !== undefined) return undefined;
    const record = this.#resolve(selector);
    const specs = this.#pins.specs(record);
    if (specs === undefined) return undefined;
    const tensors = new Map(Object.entries(allocateTensors(specs)));
    return (await this.#pins.restore(record, tensors)) ? tensors : undefined;
  }

  /**
   * Keeps a raw image of a ref's newest version, and gives that version's tensors: mapped from the image where koffi is
   * installed, else read from it; the first time, decoded from the chunks while the image is written within the I/O
   * budget. From then on each save of the ref, in this process, is followed by its image.
   * @throws `ERR_NOT_FOUND`
   * @example
   * const { tensors, verified } = await store.checkpoints.pin("btc-lstm");
   * await verified; // or go on at once, and watch it
   */
  async pin(ref: string): Promise<PinnedModel> {
    this.#requireOpen();
    this.#engine.versions.refresh();
    return this.#pins.pin(this.registry.newest(ref) ?? this.registry.require(ref, 1));
  }

  /** Keeps no image of a ref any more. */
  async unpin(ref: string): Promise<void> {
    this.#requireOpen();
    await this.#change(() => this.#pins.unpin(ref));
  }

  /**
   * Reads into tensors that exist; each must be in the version with the same dtype and shape.
   *
   * With `from`, the tensors hold that version (`REF@SELECTOR`) already, and only what differs from it is read. They are
   * believed to; with `strict` (default: the store's), what is not read is hashed on the calling thread, and tensors that
   * hold something else there are an `ERR_CONFLICT` that names them. After another error they hold parts of either version.
   * @throws `ERR_CONFLICT`, `ERR_NOT_FOUND`, both before anything is touched; `ERR_ABORTED`; `ERR_STORE_CORRUPT`
   */
  async restoreInto(
    selector: string,
    tensors: NamedTensors,
    options: { file?: string; signal?: AbortSignal; from?: string; strict?: boolean } = {},
  ): Promise<Checkpoint> {
    checkOptions("restoreInto", options, { file: TEXT, signal: SIGNAL, from: TEXT, strict: FLAG });
    if (this.#pins.specs(this.#resolve(selector)) === undefined) this.#engine.pool.warm();
    const checkpoint = await this.open(selector);
    const targets = [...entriesOf(tensors)];
    // All of them fit, or none is touched.
    for (const [name, tensor] of targets) checkpoint.requireFit(name, tensor, options.file);
    if (options.from !== undefined) {
      const { restoreChanges } = await import("./restore-changes.ts");
      const { reader } = this.#engine.chunks;
      const versions = { from: await this.open(options.from), to: checkpoint, reader };
      await restoreChanges(versions, targets, { ...options, strict: options.strict ?? this.#strict });
      return checkpoint;
    }
    if (options.file === undefined && (await this.#pins.restore(checkpoint.record, new Map(targets)))) {
      return checkpoint;
    }
    await eachOf(targets, ([name, tensor]) => checkpoint.tensorInto(name, tensor, options));
    return checkpoint;
  }

  /**
   * Serves the ONNX model of a ref: the newest version that loads and passes its probe, swapped in as it becomes durable.
   * `REF@SELECTOR` serves that version and no other. Versions of plain tensors go into an ONNX model that is given
   * (`onnx: { skeleton }`), whose initializers must all be there in its dtypes and shapes. Needs onnxruntime-node, which
   * is not a dependency of varve. Close it before the store.
   * @throws `ERR_NOT_FOUND` without such a version, or without the runtime; `ERR_FORMAT_ONNX`; `ERR_CONFLICT` when the
   * probe fails, or a version does not fit the skeleton
   * @example
   * await using model = await store.checkpoints.serve("btc-lstm", { onnx: true, probe: { inputs } });
   * const { version, outputs } = await model.run(inputs);
   */
  async serve(selector: string, options: ServeModelOptions): Promise<ServedModel> {
    const { ref, version } = this.#resolve(selector);
    const { serveModel } = await import("./serving/serve-model.ts");
    const { disk, versions } = this.#engine;
    const place = { disk, versions, registry: this.registry, open: (each: string) => this.open(each) };
    return serveModel(place, { ref, version, pinned: selector.includes("@") }, options);
  }

  /**
   * Each new version of a ref as soon as it is durable (in this process at once, from another within 50 ms), until
   * `signal`. Only versions after the newest of this moment, or after `after`; those pruned before they are seen are left out.
   * @example
   * let have = "btc-lstm@41";
   * for await (const { ref, version } of store.checkpoints.follow("btc-lstm", { after: 41, signal })) {
   *   const now = `${ref}@${version}`;
   *   await store.checkpoints.restoreInto(now, tensors, { from: have });
   *   have = now;
   * }
   */
  async *follow(ref: string, options: FollowOptions = {}): AsyncGenerator<VersionInfo, void, undefined> {
    this.#requireOpen();
    checkOptions("follow", options, { signal: SIGNAL });
    const signal = options.signal
      ? AbortSignal.any([options.signal, this.#closing.signal])
      : this.#closing.signal;
    const { followRef } = await import("./follow.ts");
    const following = { ...options, signal, moves: this.#moves };
    for await (const record of followRef(this.#engine.versions, this.registry, ref, following)) {
      yield toInfo(record);
    }
  }

  /**
   * Tensors of `to` that may differ from those of `from`, and in which rows: known from the manifests alone, to within
   * 65,536 elements. Those that only `from` has come last, with `isRemoved`.
   */
  async changes(from: string, to: string): Promise<TensorChanges[]> {
    const { changesBetween } = await import("./changes.ts");
    return changesBetween(await this.open(from), await this.open(to));
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
    return toRefs(this.registry.all());
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

  /** How a version is stored: bytes by tensor and encoding. */
  async encodings(selector: string): Promise<VersionEncodings> {
    const { versionEncodings } = await import("./encodings.ts");
    const checkpoint = await this.open(selector);
    return versionEncodings(this.#engine.chunks.reader, checkpoint.files);
  }

  /**
   * Writes what the fast profile stored once more as the compact profile would have, paced: the versions of a ref, or
   * of all refs, but the newest of each. What it replaces is freed by `gc`. Saves and reads go on meanwhile. Closing the
   * store waits for it, and it does not rest any more then.
   */
  recompress(options: RecompressOptions & { ref?: string } = {}): Promise<RecompressResult> {
    return this.#change(async () => {
      checkOptions("recompress", options, { ...UPKEEP_RULES, ref: TEXT });
      const { recompressVersions } = await import("./upkeep.ts");
      return recompressVersions(this.#engine, this.registry, { ...options, pacing: this.#pacing });
    });
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
    checkOptions("prune", options, { dryRun: FLAG, keepTags: FLAG });
    const plan = planPrune(this.registry.versions(ref), options);
    if (options.dryRun) return { ref, ...plan };
    const pruned = await this.#change(() => this.registry.remove(ref, plan.pruned));
    return { ref, kept: this.registry.versions(ref).map((record) => record.version), pruned };
  }

  /**
   * Removes chunks that no version needs any more, nor anything that `markOthers` names; and scratch files and images that
   * killed processes, or readers that have ended, left behind.
   */
  collectGarbage(options: GcOptions = {}, markOthers: MarkOthers = () => {}): Promise<GcResult> {
    return this.#change(async () => {
      checkOptions("gc", options, UPKEEP_RULES);
      const { collectVersions } = await import("./upkeep.ts");
      const pacing = this.#pacing;
      const result = await collectVersions(this.#engine, this.registry, { ...options, pacing }, markOthers);
      if (options.dryRun !== true) {
        this.#captures.sweep();
        this.#pins.sweep();
      }
      return result;
    });
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
    this.#closing.abort();
    await Promise.allSettled([this.#saves.settle(), ...this.#changing]);
    await this.#pins.close();
    this.#captures.close();
  }
}

const UPKEEP_RULES = { bytesPerSecond: RATE, dryRun: FLAG, signal: SIGNAL, onProgress: CALLBACK };
