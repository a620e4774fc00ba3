import type { Tensor } from "../formats/tensor.ts";
import type { ChunkStore } from "../src/chunks/chunk-store.ts";
import { collectGarbage, type GcOptions, type GcResult } from "../src/chunks/gc.ts";
import { isStoreError, StoreError } from "../src/errors.ts";
import type { Engine } from "../src/store.ts";
import { Checkpoint } from "./checkpoint.ts";
import { type DiffOptions, diffCheckpoints, type TensorDiff } from "./diff.ts";
import { manifestChunks } from "./manifest-chunks.ts";
import type { ManifestFile } from "./manifest-format.ts";
import { Registry, type VersionRecord } from "./registry.ts";
import { type RestoredFiles, type RestoreFilesOptions, restoreFiles } from "./restore-files.ts";
import { type PruneOptions, type PruneResult, planPrune } from "./retention.ts";
import { type SaveOptions, type SaveResult, saveVersion } from "./save.ts";
import { resolveSelector } from "./selector.ts";
import type { SourceFile } from "./source.ts";
import { openSourceFiles } from "./source-files.ts";
import { entriesOf, type NamedTensors, tensorSource } from "./tensor-source.ts";
import { type SaveTicket, startSave } from "./ticket.ts";

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
  onError: ((error: unknown) => void) | undefined;
}

/** Model checkpoints: versions of tensors and files under refs. */
export class Checkpoints {
  readonly registry: Registry;
  readonly #engine: Engine;
  readonly #onError: ((error: unknown) => void) | undefined;
  /** The last save of each ref: saves of one ref are ordered. */
  readonly #saving = new Map<string, Promise<unknown>>();
  /** Collections, tags and prunes under way: `close` waits for them too. */
  readonly #changing = new Set<Promise<unknown>>();
  #unobserved: { ref: string; error: unknown } | undefined;
  #closed = false;

  constructor(engine: Engine, options: CheckpointsOptions) {
    this.#engine = engine;
    this.registry = new Registry(engine.versions);
    this.#onError = options.onError;
  }

  /**
   * Saves tensors as the next version of a ref and returns at once.
   *
   * The tensors must not change until the ticket's `captured` resolves; memory that is shared is read where it is,
   * other memory is copied, a piece at a time, on this thread.
   * @throws `ERR_INVALID_ARGUMENT`, `ERR_LIMIT`; and the failure of an earlier save that nobody was told of.
   * @example
   * const ticket = store.checkpoints.save("btc-lstm", { w: { dtype: "F32", shape: [2], data } }, { step: 100 });
   * await ticket.captured; // data may be overwritten
   * const { version } = await ticket.durable;
   */
  save(ref: string, tensors: NamedTensors, options: SaveOptions = {}): SaveTicket {
    this.#requireOpen();
    return this.#start(ref, [tensorSource(tensors)], options);
  }

  /**
   * Saves files, or directories of them, as one version. `step` defaults to the `__metadata__.step` of a safetensors
   * file among them. A malformed file is refused before anything is stored.
   */
  async saveFiles(ref: string, paths: string[], options: SaveOptions = {}): Promise<SaveResult> {
    this.#requireOpen();
    const opened = openSourceFiles(this.#engine.disk, paths);
    const step = options.step ?? stepIn(opened.map(({ metadata }) => metadata));
    const files = opened.map(({ file }) => file);
    return this.#start(ref, files, { ...options, ...(step === undefined ? {} : { step }) }).durable;
  }

  #start(ref: string, files: SourceFile[], given: SaveOptions): SaveTicket {
    this.#throwUnobserved(ref);
    const options = ownCopy(given);
    const before = this.#saving.get(ref) ?? Promise.resolve();
    const ticket = startSave({
      run: ({ onCaptured, onCopied }) => {
        const run = before
          .catch(() => {})
          .then(() =>
            saveVersion(this.#engine, this.registry, { ...options, ref, files, onCaptured, onCopied }),
          );
        this.#saving.set(ref, run);
        run.then(
          () => this.#forget(ref, run),
          () => this.#forget(ref, run),
        );
        return run;
      },
      onUnobserved: (error) => {
        this.#unobserved = { ref, error };
        this.#onError?.(error);
      },
    });
    return ticket;
  }

  #forget(ref: string, run: Promise<unknown>): void {
    if (this.#saving.get(ref) === run) this.#saving.delete(ref);
  }

  #throwUnobserved(ref: string): void {
    const failed = this.#unobserved;
    if (failed === undefined) return;
    this.#unobserved = undefined;
    const reason = failed.error instanceof Error ? failed.error.message : String(failed.error);
    throw new StoreError("ERR_ABORTED", `an earlier save of ${failed.ref} failed unnoticed: ${reason}`, {
      context: { ref: failed.ref, refused: ref },
      cause: failed.error,
      hint: "That version is not there. Await `durable`, or pass `onError`, to hear of failures; then save again.",
    });
  }

  /** Opens a version (`REF` or `REF@SELECTOR`) without reading its tensors. */
  async open(selector: string): Promise<Checkpoint> {
    return new Checkpoint(this.#engine, this.#resolve(selector));
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

  /** Removes chunks that no version needs any more, nor anything that `markOthers` names. */
  async collectGarbage(
    options: GcOptions = {},
    markOthers: (visit: (digest: Uint8Array) => void) => void = () => {},
  ): Promise<GcResult> {
    const { chunks, versions } = this.#engine;
    const roots = {
      seq: () => {
        versions.refresh();
        return versions.seq;
      },
      mark: (visit: (digest: Uint8Array) => void) => {
        for (const record of this.registry.all()) visitVersion(chunks, record, visit);
        markOthers(visit);
      },
    };
    return this.#change(() => collectGarbage(chunks, roots, options));
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
    await Promise.allSettled([...this.#saving.values(), ...this.#changing]);
  }
}

function toInfo({ manifest, ...record }: VersionRecord): VersionInfo {
  return { ...record, manifest: Buffer.from(manifest).toString("hex") };
}

/** The caller may reuse what it gave for a version's fields as soon as `save` has returned. */
function ownCopy(options: SaveOptions): SaveOptions {
  const { metrics, metadata } = options;
  return {
    ...options,
    ...(metrics === undefined ? {} : { metrics: { ...metrics } }),
    ...(metadata === undefined ? {} : { metadata: { ...metadata } }),
  };
}

/** A damaged version needs what is left of it; one that is not on record as damaged must be readable. */
function visitVersion(chunks: ChunkStore, record: VersionRecord, visit: (digest: Uint8Array) => void): void {
  try {
    for (const digest of manifestChunks(chunks, record.manifest)) visit(digest);
  } catch (error) {
    if (!record.damaged || !isStoreError(error, "ERR_STORE_CORRUPT")) throw error;
  }
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
