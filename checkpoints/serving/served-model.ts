import { setTimeout as delay } from "node:timers/promises";
import { isStoreError, StoreError } from "../../src/errors.ts";
import type { Checkpoint } from "../checkpoint.ts";
import type { ModelSignature } from "./messages.ts";
import type { LoadModel } from "./model-files.ts";
import { type ModelSession, type ModelTensors, ModelThread } from "./session.ts";
import type { SkeletonOptions } from "./skeleton.ts";

export interface ServeModelOptions {
  /**
   * The version's model is an ONNX file, with its external data where it has such; or its plain tensors are the weights
   * of an ONNX model that is given. Run by onnxruntime-node.
   */
  onnx: true | SkeletonOptions;
  /** Which file is the model, or has the tensors; needed when a version has several. */
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
  /** What a session of it is built from. */
  load: LoadModel;
}

/** How soon a version another process saved is seen. */
const LOOK_MS = 20;

/** How long a version waits for the thread of the one before the last, which may have a run of any length left. */
const THREAD_WAIT_MS = 250;

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
  #spare: ModelThread | undefined;
  /** The newest version that was tried, whether it serves or was refused. */
  #tried: number;
  #timer: NodeJS.Timeout | undefined;
  #looking = Promise.resolve();
  /** The version that served before frees its memory; its thread becomes the spare one. */
  #releasing: Promise<void> = Promise.resolve();
  #closed = false;

  private constructor(source: ModelSource, options: ServeModelOptions, session: ModelSession) {
    this.#source = source;
    this.#options = options;
    this.#session = session;
    this.#tried = session.version;
    if (source.follows) this.#spare = new ModelThread(options);
    this.#lookLater();
  }

  /** @throws what keeps the first version from serving */
  static async start(source: ModelSource, options: ServeModelOptions): Promise<ServedModel> {
    const version = source.newest();
    if (version === undefined) throw new StoreError("ERR_NOT_FOUND", "there is no version to serve");
    const thread = new ModelThread(options);
    try {
      const { probe } = options;
      const session = await build(await source.open(version), { load: source.load, probe }, thread);
      return new ServedModel(source, options, session);
    } catch (error) {
      await thread.end();
      throw error;
    }
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
      const thread = await this.#idleThread();
      const { probe } = this.#options;
      const session = await build(checkpoint, { load: this.#source.load, probe }, thread);
      this.#spare = undefined;
      const old = this.#session;
      this.#session = session;
      this.#releasing = this.#retire(old);
      this.#options.onSwap?.({ version, savedUs: checkpoint.record.timeUs });
    } catch (error) {
      this.#refuse(error, version);
    }
  }

  /** The spare thread; one that is still busy with a long run is waited for a while, and then another one started. */
  async #idleThread(): Promise<ModelThread> {
    if (this.#spare === undefined) {
      const waited = delay(THREAD_WAIT_MS, undefined, { ref: false });
      await Promise.race([this.#releasing, waited]);
    }
    if (this.#spare === undefined || this.#spare.dead) this.#spare = new ModelThread(this.#options);
    return this.#spare;
  }

  /** Frees a version that serves no more, and keeps its thread for the next one. */
  async #retire(old: ModelSession): Promise<void> {
    const before = this.#releasing;
    const thread = await old.release();
    if (thread.dead || this.#closed || this.#spare !== undefined) await thread.end();
    else this.#spare = thread;
    await before;
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
    await this.#releasing;
    await Promise.all([this.#spare?.end(), this.#session.release().then((thread) => thread.end())]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** A version's session, warmed and tried. The thread can be used again when it fails. */
async function build(
  checkpoint: Checkpoint,
  { load, probe }: { load: LoadModel; probe: ServeModelOptions["probe"] },
  thread: ModelThread,
): Promise<ModelSession> {
  const session = await thread.open(checkpoint.version, await load(checkpoint));
  try {
    if (probe !== undefined) await tryOut(session, probe);
    return session;
  } catch (error) {
    await session.release();
    throw error;
  }
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
