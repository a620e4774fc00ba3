import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import type { Tensor } from "../../formats/tensor.ts";
import { builtFile, threadFlags } from "../../src/built.ts";
import { fromErrorRecord, StoreError } from "../../src/errors.ts";
import { MODEL_RUNS_MAX } from "../../src/limits.ts";
import type { ModelBytes, ModelSignature, SessionReply, SessionRequest, SessionStart } from "./messages.ts";
import { Turn } from "./turn.ts";

export type ModelTensors = Record<string, Tensor>;

const RUNTIME = "onnxruntime-node";

/** A loaded model, on a thread that it has to itself until it is released. */
export class ModelSession {
  readonly version: number;
  readonly signature: ModelSignature;
  readonly #thread: ModelThread;
  #running = 0;
  #released: (() => void) | undefined;

  constructor(version: number, thread: ModelThread, signature: ModelSignature) {
    this.version = version;
    this.#thread = thread;
    this.signature = signature;
  }

  /** Whether its thread has ended without being told to. */
  get dead(): boolean {
    return this.#thread.dead;
  }

  /** @throws `ERR_LIMIT` when `MODEL_RUNS_MAX` runs wait already; `ERR_INVALID_ARGUMENT` for inputs it cannot take */
  async run(inputs: ModelTensors): Promise<ModelTensors> {
    if (this.#running >= MODEL_RUNS_MAX) {
      throw new StoreError("ERR_LIMIT", `${MODEL_RUNS_MAX} inferences wait already`, {
        retryable: true,
        hint: "Await earlier ones: the model is slower than its callers.",
      });
    }
    this.#running++;
    try {
      return await this.#thread.run(inputs);
    } finally {
      this.#running--;
      if (this.#running === 0) this.#released?.();
    }
  }

  /** Lets the runs it has begun end, then frees its memory; the thread, where it lives, can take another model. */
  async release(): Promise<ModelThread> {
    if (this.#running > 0) await new Promise<void>((resolve) => (this.#released = resolve));
    await this.#thread.release();
    return this.#thread;
  }
}

/** A thread that models are loaded on, one after the other: starting one and loading the runtime takes longer. */
export class ModelThread {
  readonly #worker: Worker;
  readonly #waiting = new Map<
    number,
    { resolve(outputs: ModelTensors): void; reject(error: unknown): void }
  >();
  /** Who waits for a model to be loaded, or released. */
  #step: { resolve(reply: SessionReply): void; reject(error: unknown): void } | undefined;
  readonly #turn = new Turn();
  #nextId = 1;
  #ending = false;
  #dead = false;

  /**
   * Starts a thread for models to come; it loads the runtime meanwhile. Waiting, it keeps no process alive.
   * @throws `ERR_NOT_FOUND` without the runtime
   */
  constructor(options: { threads?: number; runtime?: string }) {
    const start: SessionStart = { runtime: findRuntime(options.runtime), threads: options.threads ?? 1 };
    const url = new URL(builtFile(import.meta.url, "./session.worker.js"));
    this.#worker = new Worker(url, { name: "varve-model", workerData: start, ...threadFlags() });
    this.#worker.on("message", (reply: SessionReply) => this.#settle(reply));
    this.#worker.on("error", (error) => this.#die(error));
    this.#worker.on("exit", () => this.#die(new Error("it was ended")));
    this.#worker.unref();
  }

  get dead(): boolean {
    return this.#dead;
  }

  /**
   * Builds a session; nothing of it happens on the calling thread.
   * @param model in shared memory
   * @throws `ERR_FORMAT_ONNX` when the runtime cannot load the model
   */
  async open(version: number, model: ModelBytes): Promise<ModelSession> {
    const reply = await this.#ask({ open: model });
    if ("failed" in reply) throw fromErrorRecord(reply.failed);
    return new ModelSession(version, this, (reply as { opened: ModelSignature }).opened);
  }

  run(inputs: ModelTensors): Promise<ModelTensors> {
    if (this.#dead) return Promise.reject(ended());
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#hold();
      this.#worker.postMessage({ id, inputs } satisfies SessionRequest);
    });
  }

  /** Frees the model; a thread that has ended has none. */
  async release(): Promise<void> {
    if (!this.#dead) await this.#ask("release").catch(() => {});
  }

  async end(): Promise<void> {
    this.#ending = true;
    await this.#worker.terminate();
  }

  #ask(request: SessionRequest): Promise<SessionReply> {
    if (this.#dead) return Promise.reject(ended());
    return new Promise((resolve, reject) => {
      this.#step = { resolve, reject };
      this.#hold();
      this.#worker.postMessage(request);
    });
  }

  /** Keeps the process alive while somebody waits for this thread, and no longer. */
  #hold(): void {
    if (this.#step === undefined && this.#waiting.size === 0) this.#worker.unref();
    else this.#worker.ref();
  }

  #settle(reply: SessionReply): void {
    if (!("id" in reply)) {
      this.#step?.resolve(reply);
      this.#step = undefined;
      this.#hold();
      return;
    }
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    this.#hold();
    this.#turn.hand(() => {
      if ("outputs" in reply) waiting?.resolve(reply.outputs);
      else waiting?.reject(fromErrorRecord(reply.error));
    });
  }

  #die(cause: unknown): void {
    if (this.#ending && this.#waiting.size === 0 && this.#step === undefined) return;
    this.#dead = true;
    const error = ended(cause);
    this.#step?.reject(error);
    this.#step = undefined;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

function ended(cause?: unknown): StoreError {
  return new StoreError("ERR_CLOSED", "the model's thread has ended", { retryable: true, cause });
}

/** The runtime is not a dependency: whoever serves models installs it, beside varve or in their own project. */
function findRuntime(place: string | undefined): string {
  if (place !== undefined) return place;
  for (const from of [import.meta.url, pathToFileURL(join(process.cwd(), "package.json")).href]) {
    try {
      return pathToFileURL(createRequire(from).resolve(RUNTIME)).href;
    } catch {
      // Not from there.
    }
  }
  throw new StoreError("ERR_NOT_FOUND", `${RUNTIME} is not installed`, {
    hint: `Serving ONNX models needs it: npm install ${RUNTIME}.`,
  });
}
