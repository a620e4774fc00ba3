import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { THREAD_HEAP, threadFile, threadFlags } from "../built.ts";
import { fromErrorRecord, isStoreError, StoreError } from "../errors.ts";
import { type Job, Moving } from "./job.ts";
import type { Reply, Request } from "./worker.ts";

/**
 * Runs jobs on worker threads. A job is an exported function of a module, named by that module's URL, so that it
 * lives with the code it works for; this file knows nothing of what a job does.
 *
 * At most two jobs are queued on each worker, so that one is always ready when another ends; more than that wait
 * here in order. Workers start on first use and end with `close`. A worker that dies fails its jobs with
 * `ERR_POISONED`, but for those that may be done again, and is replaced by the next job.
 */
export interface WorkerPool {
  readonly size: number;
  /** Whether jobs run on the calling thread. */
  readonly inline: boolean;
  /**
   * Calls `name` of the module at `url` with `args` (structured-cloned; shared memory stays shared) and resolves
   * to what it returns. Errors of the job arrive as the same `StoreError`. Memory named by `moving` goes to the job
   * instead of being copied, and does not come back unless the job returns it: see `Moving`.
   */
  run<T>(job: Job, args: unknown, moving?: ArrayBuffer[]): Promise<T>;
  /** Like `run`, for a job that may as well be done twice: when its worker dies, another one does it once more. */
  runAgain<T>(job: Job, args: unknown): Promise<T>;
  /** Like `run`, for a job that nobody waits for: a process whose other work is done ends without it. */
  runAside<T>(job: Job, args: unknown): Promise<T>;
  /**
   * Calls the job on every worker, ahead of what waits here, and resolves to what each returned: at once on as many as
   * there are other cores, on the rest with the event loop's next turn. What a job passes to its second argument, a
   * function, arrives at `onReport` while it runs. When a worker fails, the others still end before the failure is told.
   */
  broadcast(job: Job, args: unknown, onReport?: (value: unknown) => void): Promise<unknown[]>;
  /** Whether jobs begin at once: threads run already, or none are needed. */
  readonly started: boolean;
  /** Starts the workers, so that the first job does not wait for them. */
  warm(): void;
  /** Starts one with the event loop's next turn, where none runs: a job is about to come. */
  prepare(): void;
  close(): Promise<void>;
}

const QUEUED_PER_WORKER = 2;
/**
 * Threads that a broadcast wakes before it returns. One more would find every other core busy and take the caller's,
 * which then waits for the scheduler: 3 to 5 ms measured, for a call that takes 0.3.
 */
const WOKEN_AT_ONCE = Math.max(1, availableParallelism() - 1);
const NURSERY_MEGABYTES = 2;

interface Waiting {
  request: Request;
  resolve(value: unknown): void;
  reject(error: unknown): void;
  onReport?: ((value: unknown) => void) | undefined;
  moving?: ArrayBuffer[];
  /** Goes to another worker should this one die. */
  again?: boolean;
  /** Keeps no process alive. */
  aside?: boolean;
}

interface Slot {
  worker: Worker;
  running: Map<number, Waiting>;
}

/** Whether a job failed only because its thread died: the job itself may be done again if it is one that can. */
export function isThreadEnd(error: unknown): boolean {
  return isStoreError(error, "ERR_POISONED") && error.context.threadEnded === true;
}

function threadEnded(cause: unknown): StoreError {
  return new StoreError("ERR_POISONED", "a worker thread ended in the middle of a job", {
    cause,
    context: { threadEnded: true },
  });
}

export function createWorkerPool(size: number): WorkerPool {
  const slots: Slot[] = [];
  const queue: Waiting[] = [];
  let nextId = 1;
  let closed = false;
  let preparing = false;

  function start(): Slot {
    const worker = new Worker(new URL(threadFile(import.meta.url, "./worker.js")), {
      name: "varve",
      ...threadFlags(),
      // Jobs keep next to nothing on the heap: a small nursery, so that two threads do not cost two large ones.
      resourceLimits: { ...THREAD_HEAP, maxYoungGenerationSizeMb: NURSERY_MEGABYTES },
    });
    const slot: Slot = { worker, running: new Map() };
    worker.on("message", (reply: Reply) => {
      const job = slot.running.get(reply.id);
      if (job === undefined) return;
      if (reply.report !== undefined) {
        job.onReport?.(reply.report);
        return;
      }
      slot.running.delete(reply.id);
      if (![...slot.running.values()].some(({ aside }) => aside !== true)) worker.unref();
      if (reply.error === undefined) job.resolve(reply.value);
      else job.reject(fromErrorRecord(reply.error));
      dispatch();
    });
    const fail = (cause: unknown) => {
      const index = slots.indexOf(slot);
      if (index >= 0) slots.splice(index, 1);
      for (const job of slot.running.values()) {
        if (job.again && !closed) queue.unshift({ ...job, again: false });
        else job.reject(threadEnded(cause));
      }
      slot.running.clear();
      if (!closed) dispatch();
    };
    worker.on("error", fail);
    worker.on("exit", (code) => fail(new Error(`worker exit code ${code}`)));
    worker.unref();
    slots.push(slot);
    return slot;
  }

  function dispatch(): void {
    while (queue.length > 0) {
      let slot = slots.reduce<Slot | undefined>(
        (best, each) => (best === undefined || each.running.size < best.running.size ? each : best),
        undefined,
      );
      if ((slot === undefined || slot.running.size > 0) && slots.length < size) slot = start();
      if (slot === undefined || slot.running.size >= QUEUED_PER_WORKER) return;
      send(slot, queue.shift()!);
    }
  }

  function send(slot: Slot, job: Waiting, later = false): void {
    slot.running.set(job.request.id, job);
    if (job.aside !== true) slot.worker.ref();
    // A worker that has ended by then has failed its jobs already.
    if (later) setImmediate(() => slot.worker.postMessage(job.request));
    else slot.worker.postMessage(job.request, job.moving ?? []);
  }

  function warm(): void {
    while (!closed && slots.length < size) start();
  }

  function enqueue<T>(
    job: Job,
    args: unknown,
    options: Pick<Waiting, "moving" | "again" | "aside">,
  ): Promise<T> {
    if (closed) return Promise.reject(new StoreError("ERR_CLOSED", "the worker pool is closed"));
    return new Promise<T>((resolve, reject) => {
      const request = { id: nextId++, url: threadFile(job.url), name: job.name, args };
      queue.push({ request, resolve: resolve as (value: unknown) => void, reject, ...options });
      dispatch();
    });
  }

  return {
    size,
    inline: false,
    get started() {
      return slots.length > 0;
    },
    run: <T>(job: Job, args: unknown, moving: ArrayBuffer[] = []) => enqueue<T>(job, args, { moving }),
    runAgain: <T>(job: Job, args: unknown) => enqueue<T>(job, args, { again: true }),
    runAside: <T>(job: Job, args: unknown) => enqueue<T>(job, args, { aside: true }),
    warm,
    prepare() {
      if (closed || preparing || slots.length > 0) return;
      preparing = true;
      setImmediate(() => {
        preparing = false;
        if (!closed && slots.length === 0) start();
      }).unref();
    },
    async broadcast(job, args, onReport) {
      if (closed) throw new StoreError("ERR_CLOSED", "the worker pool is closed");
      warm();
      const runs = slots.map(
        (slot, place) =>
          new Promise<unknown>((resolve, reject) => {
            const request = { id: nextId++, url: threadFile(job.url), name: job.name, args };
            send(slot, { request, resolve, reject, onReport }, place >= WOKEN_AT_ONCE);
          }),
      );
      await Promise.allSettled(runs);
      return Promise.all(runs);
    },
    async close() {
      closed = true;
      for (const job of queue.splice(0))
        job.reject(new StoreError("ERR_CLOSED", "the worker pool is closed"));
      await Promise.all(slots.splice(0).map((slot) => slot.worker.terminate()));
    },
  };
}

/** Runs jobs on the calling thread: for tests that need one thread, and for machines without a second core. */
export function createInlinePool(): WorkerPool {
  const run = async <T>(job: Job, args: unknown) => (await runHere(job, args)) as T;
  return {
    size: 1,
    inline: true,
    started: true,
    run,
    runAgain: run,
    runAside: run,
    async broadcast(job, args, onReport) {
      return [await runHere(job, args, onReport)];
    },
    warm() {},
    prepare() {},
    async close() {},
  };
}

type JobFunction = (args: unknown, report: (value: unknown) => void) => unknown;

async function runHere(job: Job, args: unknown, onReport: (value: unknown) => void = () => {}) {
  const module = (await import(job.url)) as Record<string, JobFunction>;
  const result = await module[job.name]!(args, onReport);
  return result instanceof Moving ? result.value : result;
}
