import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import type { Tensor } from "../../formats/tensor.ts";
import { builtFile } from "../../src/built.ts";
import { fromErrorRecord, StoreError } from "../../src/errors.ts";
import { MODEL_RUNS_MAX } from "../../src/limits.ts";
import type { ModelSignature, OpenRequest, RunRequest, SessionReply, SessionStart } from "./messages.ts";

export type ModelTensors = Record<string, Tensor>;

const RUNTIME = "onnxruntime-node";

/** A loaded model on a thread of its own. */
export class ModelSession {
  readonly version: number;
  readonly signature: ModelSignature;
  readonly #worker: Worker;
  readonly #waiting = new Map<
    number,
    { resolve(outputs: ModelTensors): void; reject(error: unknown): void }
  >();
  readonly #ended: Promise<void>;
  #nextId = 1;
  #releasing = false;
  #dead = false;

  private constructor(version: number, worker: Worker, signature: ModelSignature) {
    this.version = version;
    this.signature = signature;
    this.#worker = worker;
    this.#ended = new Promise((resolve) => worker.once("exit", () => resolve()));
    worker.on("message", (reply: SessionReply) => this.#settle(reply));
    worker.on("error", (error) => this.#die(error));
    worker.on("exit", () => this.#die(new Error("its thread ended")));
  }

  /**
   * Builds a session; nothing of it happens on the calling thread.
   * @param thread from `startThread`; it belongs to the session, or ends when the model does not load
   * @param model in shared memory
   * @throws `ERR_FORMAT_ONNX` when the runtime cannot load the model
   */
  static open(version: number, model: Uint8Array, thread: Worker): Promise<ModelSession> {
    return new Promise((resolve, reject) => {
      thread.once("message", (reply: SessionReply) => {
        if ("opened" in reply) resolve(new ModelSession(version, thread, reply.opened));
        else if ("failed" in reply) reject(fromErrorRecord(reply.failed));
      });
      thread.once("error", reject);
      thread.postMessage({ model } satisfies OpenRequest);
    });
  }

  /** Whether its thread has ended without being told to. */
  get dead(): boolean {
    return this.#dead;
  }

  /** @throws `ERR_LIMIT` when `MODEL_RUNS_MAX` runs wait already; `ERR_INVALID_ARGUMENT` for inputs it cannot take */
  run(inputs: ModelTensors): Promise<ModelTensors> {
    if (this.#dead)
      return Promise.reject(
        new StoreError("ERR_CLOSED", "the model's thread has ended", { retryable: true }),
      );
    if (this.#waiting.size >= MODEL_RUNS_MAX) {
      const error = new StoreError("ERR_LIMIT", `${MODEL_RUNS_MAX} inferences wait already`, {
        retryable: true,
        hint: "Await earlier ones: the model is slower than its callers.",
      });
      return Promise.reject(error);
    }
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, inputs } satisfies RunRequest);
    });
  }

  #settle(reply: SessionReply): void {
    if (!("id" in reply)) return;
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if ("outputs" in reply) waiting?.resolve(reply.outputs);
    else waiting?.reject(fromErrorRecord(reply.error));
    this.#endWhenIdle();
  }

  #die(cause: unknown): void {
    if (!this.#releasing) this.#dead = true;
    const error = new StoreError("ERR_CLOSED", "the model's thread ended before it answered", {
      cause,
      retryable: true,
    });
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  /** Lets the runs it has begun end, then frees its memory and thread. */
  release(): Promise<void> {
    if (!this.#releasing) {
      this.#releasing = true;
      this.#endWhenIdle();
    }
    return this.#ended;
  }

  #endWhenIdle(): void {
    if (this.#releasing && this.#waiting.size === 0) this.#worker.postMessage("release");
  }
}

/**
 * Starts a thread for a session to come; it loads the runtime meanwhile.
 * @throws `ERR_NOT_FOUND` without the runtime
 */
export function startThread(options: { threads?: number; runtime?: string }): Worker {
  const start: SessionStart = { runtime: findRuntime(options.runtime), threads: options.threads ?? 1 };
  const url = new URL(builtFile(import.meta.url, "./session.worker.js"));
  const thread = new Worker(url, { name: "varve-model", workerData: start });
  // A thread that waits keeps no process alive, and one that fails says so when it is asked for a session.
  thread.on("error", () => {});
  thread.unref();
  return thread;
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
