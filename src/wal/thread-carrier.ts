import { Worker } from "node:worker_threads";
import { THREAD_HEAP, threadFile, threadFlags } from "../built.ts";
import type { Disk, DiskFile, DurableMethod } from "../disk/disk.ts";
import { type ErrorRecord, fromErrorRecord, StoreError } from "../errors.ts";
import type { CarriedWrite, WriteCarrier, WriteOutcome } from "./carrier.ts";
import { BLOCK_BYTES } from "./format.ts";
import {
  createHandoverMemory,
  type LogWorkerData,
  OUTCOME,
  openHandover,
  TURN,
  WORD,
  WORKER_LOCK_NAME,
} from "./handover.ts";

/** How often a thread that waits for a write looks whether the worker still lives. */
const LIVENESS_MS = 100;
/**
 * A write of so many records is looked after in every turn of the event loop: being woken takes longer than a turn,
 * and who commits so much soon has more. Some hundred microseconds of turns with nothing else to do are the most it may cost.
 */
const POLLED_RECORDS_MIN = 16;
const POLLS_MAX = 100;

export interface ThreadCarrierOptions {
  disk: Disk;
  /** The log's directory, then its mirror's. */
  directories: string[];
  segmentBlocks: number;
  durable: DurableMethod | undefined;
  /** Page-aligned shared memory the writes lie in. */
  buffers: Uint8Array[];
  /** The worker's script; the log worker by default. */
  script?: URL;
}

/** Carries writes on the log worker's thread. */
export function createThreadCarrier(options: ThreadCarrierOptions): WriteCarrier {
  return new ThreadCarrier(options);
}

/** ES2024, and in every version of Node.js that is supported. */
const { waitAsync } = Atomics as unknown as {
  waitAsync(
    words: Int32Array,
    index: number,
    value: number,
  ): { async: true; value: Promise<string> } | { async: false; value: string };
};

class ThreadCarrier implements WriteCarrier {
  readonly #worker: Worker;
  readonly #words: Int32Array;
  readonly #error: Uint8Array;
  readonly #disk: Disk;
  readonly #directories: readonly string[];
  readonly #lockPath: string;
  #lock: DiskFile | undefined;
  #done: ((outcome: WriteOutcome) => void) | undefined;
  #job = 0;
  /** A wait for the end of a write is on its way. */
  #isListening = false;
  /** The end of a write is looked for in the next turn of the event loop, and this many more times. */
  #isPolling = false;
  #pollsLeft = 0;
  /** An answer was taken in this turn of the event loop. */
  #hasAnswered = false;
  #died: StoreError | undefined;
  #closing = false;

  constructor(options: ThreadCarrierOptions) {
    const memory = createHandoverMemory();
    ({ words: this.#words, error: this.#error } = openHandover(memory));
    this.#words[WORD.hasMirror] = options.directories.length > 1 ? 1 : 0;
    this.#disk = options.disk;
    this.#directories = options.directories;
    this.#lockPath = `${options.directories[0]}/${WORKER_LOCK_NAME}`;
    const { directories, segmentBlocks, durable, buffers } = options;
    const data: LogWorkerData = { directories, segmentBlocks, durable, buffers, handover: memory };
    const script = options.script ?? new URL(threadFile(import.meta.url, "./log-worker.js"));
    const limits = { resourceLimits: THREAD_HEAP };
    this.#worker = new Worker(script, { name: "varve-log", workerData: data, ...limits, ...threadFlags() });
    this.#worker.on("error", (error) => this.#ended(error));
    this.#worker.on("exit", (code) => this.#ended(new Error(`the log worker ended with code ${code}`)));
    this.#worker.unref();
  }

  start(write: CarriedWrite, done: (outcome: WriteOutcome) => void): void {
    this.#done = done;
    this.#job = (this.#job + 1) | 0;
    const words = this.#words;
    words[WORD.job] = this.#job;
    words[WORD.sequenceLow] = write.sequence | 0;
    words[WORD.sequenceHigh] = Math.floor(write.sequence / 2 ** 32);
    words[WORD.blocks] = write.bytes.byteLength / BLOCK_BYTES;
    words[WORD.buffer] = write.buffer;
    if (this.#died !== undefined) {
      const failed = this.#died;
      queueMicrotask(() => this.#settle({ failed }));
      return;
    }
    this.#worker.ref();
    const endedBefore = Atomics.load(words, WORD.ended);
    Atomics.store(words, WORD.turn, TURN.ready);
    Atomics.notify(words, WORD.turn);
    if (write.records < POLLED_RECORDS_MIN) this.#listen(endedBefore);
    else {
      this.#pollsLeft = POLLS_MAX;
      this.#pollSoon();
    }
  }

  #pollSoon(): void {
    if (this.#isPolling) return;
    this.#isPolling = true;
    setImmediate(this.#poll);
  }

  /** Looks in each turn of the event loop whether the write has ended; after many in vain it listens. */
  readonly #poll = (): void => {
    this.#isPolling = false;
    if (this.#done === undefined) return;
    const ended = Atomics.load(this.#words, WORD.ended);
    if (ended === this.#job) this.#settle(this.#outcome());
    else if (--this.#pollsLeft > 0) this.#pollSoon();
    else this.#listen(ended);
  };

  /**
   * Has `#arrived` called once a job other than this one has ended. A wait for a word of shared memory comes back
   * sooner than a message, and costs less on both sides.
   */
  #listen(endedBefore: number): void {
    if (this.#isListening) return;
    this.#isListening = true;
    const heard = () => {
      this.#isListening = false;
      const ended = Atomics.load(this.#words, WORD.ended);
      if (ended === this.#job) this.#arrived(ended);
      else if (this.#done !== undefined) this.#listen(ended);
    };
    const waited = waitAsync(this.#words, WORD.ended, endedBefore);
    if (waited.async) void waited.value.then(heard);
    else queueMicrotask(heard);
  }

  finish(): WriteOutcome | "taken-back" {
    const words = this.#words;
    this.#done = undefined;
    if (this.#died !== undefined) return { failed: this.#died };
    if (Atomics.compareExchange(words, WORD.turn, TURN.ready, TURN.idle) === TURN.ready) {
      this.#worker.unref();
      return "taken-back";
    }
    while (Atomics.load(words, WORD.turn) === TURN.taken) {
      if (Atomics.wait(words, WORD.turn, TURN.taken, LIVENESS_MS) === "timed-out" && !this.#isAlive()) {
        if (Atomics.load(words, WORD.turn) === TURN.taken) return { failed: workerDied(undefined) };
      }
    }
    return this.#outcome();
  }

  dropMirror(): void {
    this.#words[WORD.hasMirror] = 0;
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#worker.ref();
    Atomics.store(this.#words, WORD.turn, TURN.close);
    Atomics.notify(this.#words, WORD.turn);
    if (this.#died === undefined)
      await new Promise<void>((resolve) => this.#worker.once("exit", () => resolve()));
    this.#lock?.close();
  }

  /**
   * One answer a turn of the event loop: when commits take longer than the disk, the next one lies ready before
   * this one has been dealt with, and the message port would hand over a thousand before timers get their turn.
   */
  #arrived(job: number): void {
    // A write that `finish` ended has been dealt with already.
    if (job !== this.#job || this.#done === undefined) return;
    if (this.#hasAnswered) {
      setImmediate(() => this.#arrived(job));
      return;
    }
    this.#hasAnswered = true;
    setImmediate(() => {
      this.#hasAnswered = false;
    });
    this.#settle(this.#outcome());
  }

  #outcome(): WriteOutcome {
    const words = this.#words;
    const outcome = words[WORD.outcome];
    this.#noteWrites();
    Atomics.store(words, WORD.turn, TURN.idle);
    this.#worker.unref();
    if (outcome === OUTCOME.durable) return {};
    const text = new TextDecoder().decode(this.#error.slice(0, words[WORD.errorBytes]));
    const error = fromErrorRecord(JSON.parse(text) as ErrorRecord);
    return outcome === OUTCOME.failed ? { failed: error } : { mirrorFailed: error };
  }

  /** The worker writes past the disk it was given to carry for, which may want to know. */
  #noteWrites(): void {
    const words = this.#words;
    const sizeBytes = words[WORD.blocks]! * BLOCK_BYTES;
    for (const [index, path] of this.#directories.entries()) {
      const us = words[index === 0 ? WORD.logUs : WORD.mirrorUs]!;
      if (us > 0) this.#disk.noteDurableWrite?.({ path: `${path}/`, sizeBytes, us });
    }
  }

  #ended(cause: unknown): void {
    if (this.#closing || this.#died !== undefined) return;
    this.#died = workerDied(cause);
    this.#settle({ failed: this.#died });
  }

  #settle(outcome: WriteOutcome): void {
    const done = this.#done;
    this.#done = undefined;
    done?.(outcome);
  }

  /** The worker holds a kernel lock as long as it lives; a thread that waits here cannot hear of its end. */
  #isAlive(): boolean {
    this.#lock ??= this.#disk.open(this.#lockPath, { access: "write", create: "may" });
    if (!this.#lock.tryLock("exclusive")) return true;
    this.#lock.unlock();
    return false;
  }
}

function workerDied(cause: unknown): StoreError {
  return new StoreError("ERR_POISONED", "the log worker ended in the middle of a write", {
    cause,
    hint: "Reopen the store: recovery keeps every acknowledged commit.",
  });
}
