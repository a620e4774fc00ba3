import type { Worker } from "node:worker_threads";
import { isStoreError, StoreError } from "../../src/errors.ts";
import { MODEL_BYTES_MAX } from "../../src/limits.ts";
import type { Checkpoint } from "../checkpoint.ts";
import type { ModelSignature } from "./messages.ts";
import { ModelSession, type ModelTensors, startThread } from "./session.ts";

export interface ServeModelOptions {
  /** The version's model is an ONNX file, run by onnxruntime-node. */
  onnx: true;
  /** Which file is the model; needed when a version has several. */
  file?: string;
  /**
   * What a new version is tried with before it takes over. Its outputs must be finite numbers; `check` may ask for
   * more by throwing. Without it, a version only has to load.
   */
  probe?: { inputs: ModelTensors; check?: (outputs: ModelTensors) => void };
  /** Told that inferences begun from now on run on this version. */
  onSwap?: (swap: { version: number; savedUs: bigint }) => void;
  /** Told of a version that was refused: the one before it goes on. Without it, this is a warning of the process. */
  onRefused?: (error: StoreError, version: number) => void;
  /** Threads of one inference. Default: 1. */
  threads?: number;
  /** Where the runtime's module is; by default onnxruntime-node, beside varve or in the current project. */
  runtime?: string;
}

/** Where a served model's versions come from. */
export interface ModelSource {
  /** The newest version of the ref; the same one when the selector names one. */
  newest(): number | undefined;
  /** Whether there can be another one later. */
  follows: boolean;
  open(version: number): Promise<Checkpoint>;
}

/** How soon a version another process saved is seen. */
const LOOK_MS = 20;

/**
 * A model that follows its ref: inferences run on the newest version that loads and passes its probe.
 *
 * A new version is read, built, warmed and tried on a thread of its own while the current one serves; then it takes
 * over between two inferences, and the old one's memory is freed when its last run has ended. Each inference runs on
 * one version from begin to end and says which.
 */
export class ServedModel implements AsyncDisposable {
  readonly #source: ModelSource;
  readonly #options: ServeModelOptions;
  #session: ModelSession;
  /** Waits for the next version, with the runtime loaded. */
  #spare: Worker | undefined;
  /** The newest version that was tried, whether it serves or was refused. */
  #tried: number;
  #timer: NodeJS.Timeout | undefined;
  #looking = Promise.resolve();
  #releasing: Promise<void> = Promise.resolve();
  #closed = false;

  private constructor(source: ModelSource, options: ServeModelOptions, session: ModelSession) {
    this.#source = source;
    this.#options = options;
    this.#session = session;
    this.#tried = session.version;
    if (source.follows) this.#spare = startThread(options);
    this.#lookLater();
  }

  /** @throws what keeps the first version from serving */
  static async start(source: ModelSource, options: ServeModelOptions): Promise<ServedModel> {
    const version = source.newest();
    if (version === undefined) throw new StoreError("ERR_NOT_FOUND", "there is no version to serve");
    const thread = startThread(options);
    return new ServedModel(source, options, await build(await source.open(version), options, thread));
  }

  /** The version that inferences begun now run on. */
  get version(): number {
    return this.#session.version;
  }

  get signature(): ModelSignature {
    return this.#session.signature;
  }

  /**
   * Runs the model. Inputs are copied before this returns; outputs belong to the caller.
   * @throws `ERR_INVALID_ARGUMENT` for inputs the model cannot take, `ERR_LIMIT`, `ERR_CLOSED`
   */
  async run(inputs: ModelTensors): Promise<{ version: number; outputs: ModelTensors }> {
    if (this.#closed) throw new StoreError("ERR_CLOSED", "the served model was closed");
    const session = this.#session;
    return { version: session.version, outputs: await session.run(inputs) };
  }

  #lookLater(): void {
    this.#timer = setTimeout(() => {
      this.#looking = this.#look().finally(() => {
        if (!this.#closed) this.#lookLater();
      });
    }, LOOK_MS);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    let version = 0;
    try {
      // A thread that died takes its version down; building it again is the repair.
      if (this.#session.dead) this.#tried = 0;
      version = this.#source.newest() ?? 0;
      if (version === 0 || version === this.#tried || this.#closed) return;
      this.#tried = version;
      const checkpoint = await this.#source.open(version);
      const thread = this.#spare ?? startThread(this.#options);
      this.#spare = undefined;
      const session = await build(checkpoint, this.#options, thread).finally(() => {
        if (!this.#closed) this.#spare = startThread(this.#options);
      });
      if (this.#closed) return await session.release();
      const old = this.#session;
      this.#session = session;
      this.#releasing = Promise.all([this.#releasing, old.dead ? undefined : old.release()]).then(() => {});
      this.#options.onSwap?.({ version, savedUs: checkpoint.record.timeUs });
    } catch (error) {
      this.#refuse(error, version);
    }
  }

  #refuse(error: unknown, version: number): void {
    const cause = isStoreError(error) ? error : new StoreError("ERR_IO", String(error), { cause: error });
    if (this.#options.onRefused !== undefined) this.#options.onRefused(cause, version);
    else
      process.emitWarning(
        `version ${version} was refused, ${this.version} goes on serving: ${cause.message}`,
      );
  }

  /** Takes no more inferences; resolves when those begun have ended and the model's memory is free. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#looking;
    await this.#spare?.terminate();
    await Promise.all([this.#releasing, this.#session.dead ? undefined : this.#session.release()]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** A version's session, warmed and tried. */
async function build(
  checkpoint: Checkpoint,
  options: ServeModelOptions,
  thread: Worker,
): Promise<ModelSession> {
  try {
    const session = await ModelSession.open(checkpoint.version, await readModel(checkpoint, options), thread);
    if (options.probe !== undefined) await tryOut(session, options.probe);
    return session;
  } catch (error) {
    await thread.terminate();
    throw error;
  }
}

/** The model's bytes, in memory that its thread can read. */
async function readModel(checkpoint: Checkpoint, options: ServeModelOptions): Promise<Uint8Array> {
  const { version, files } = checkpoint;
  const models = files.filter(({ name }) => name.toLowerCase().endsWith(".onnx"));
  const name = options.file ?? (models.length === 1 ? models[0]!.name : undefined);
  if (name === undefined) {
    throw new StoreError(
      "ERR_INVALID_ARGUMENT",
      `${checkpoint.ref}@${version} has ${models.length} ONNX files`,
      {
        hint: "Name the model's file.",
      },
    );
  }
  const file = checkpoint.file(name);
  if (file.sizeBytes > MODEL_BYTES_MAX || files.some(({ layout }) => layout?.format === "onnx-data")) {
    throw new StoreError("ERR_LIMIT", `${name} is larger than 2 GiB or keeps its weights in another file`, {
      context: { file: name, sizeBytes: file.sizeBytes },
      hint: "Only models in one piece are served.",
    });
  }
  const model = new Uint8Array(new SharedArrayBuffer(file.sizeBytes));
  await checkpoint.reader(file).read(0, file.sizeBytes, { bytes: model });
  return model;
}

/** Two runs: the first also warms what the runtime prepares lazily. */
async function tryOut(
  session: ModelSession,
  { inputs, check }: NonNullable<ServeModelOptions["probe"]>,
): Promise<void> {
  await session.run(inputs);
  const outputs = await session.run(inputs);
  for (const [name, { data, dtype }] of Object.entries(outputs)) {
    if (dtype !== "F32" && dtype !== "F64") continue;
    if ((data as Float32Array).some((value) => !Number.isFinite(value))) {
      throw new StoreError(
        "ERR_CONFLICT",
        `version ${session.version} answers its probe with numbers that are not finite`,
        {
          context: { version: session.version, output: name },
        },
      );
    }
  }
  try {
    check?.(outputs);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StoreError("ERR_CONFLICT", `version ${session.version} does not pass its probe: ${reason}`, {
      cause: error,
    });
  }
}
