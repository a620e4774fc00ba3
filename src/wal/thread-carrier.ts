import { Worker } from "node:worker_threads";
import { invariant } from "../assert.ts";
import { THREAD_HEAP, threadFile, threadFlags } from "../built.ts";
import type { Disk, DiskFile, DurableMethod } from "../disk/disk.ts";
import { type ErrorRecord, fromErrorRecord, StoreError } from "../errors.ts";
import type { CarriedWrite, OnCarried, WriteCarrier, WriteOutcome } from "./carrier.ts";
import { BLOCK_BYTES } from "./format.ts";
import {
  createHandoverMemory,
  type LogWorkerData,
  OUTCOME,
  openHandover,
  SLOT,
  slotAt,
  TURN,
  WORD,
  WORKER_LOCK_NAME,
  WRITES_MAX,
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

/** A write that is with the worker. */
interface Flight {
  /** Counts the writes handed over, and goes round at 2³². */
  job: number;
  /** Where the words of its slot begin. */
  slot: number;
  isPolled: boolean;
  done: OnCarried;
}

class ThreadCarrier implements WriteCarrier {
  readonly #worker: Worker;
  readonly #words: Int32Array;
  readonly #error: Uint8Array;
  readonly #disk: Disk;
  readonly #directories: readonly string[];
  readonly #lockPath: string;
  #lock: DiskFile | undefined;
  /** Oldest first. */
  readonly #flights: Flight[] = [];
  #job = 0;
  /** The slot that the worker takes next, or has taken: that of the oldest write. */
  #oldest = 0;
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

  start(write: CarriedWrite, done: OnCarried): void {
    invariant(this.#flights.length < WRITES_MAX, "the log worker has as many writes as it takes");
    this.#job = (this.#job + 1) | 0;
    const words = this.#words;
    const slot = slotAt((this.#oldest + this.#flights.length) % WRITES_MAX);
    words[slot + SLOT.job] = this.#job;
    words[slot + SLOT.sequenceLow] = write.sequence | 0;
    words[slot + SLOT.sequenceHigh] = Math.floor(write.sequence / 2 ** 32);
    words[slot + SLOT.blocks] = write.bytes.byteLength / BLOCK_BYTES;
    words[slot + SLOT.buffer] = write.buffer;
    const isPolled = write.records >= POLLED_RECORDS_MIN;
    words[slot + SLOT.isBusy] = isPolled ? 1 : 0;
    this.#flights.push({ job: this.#job, slot, isPolled, done });
    if (this.#died !== undefined) {
      queueMicrotask(() => this.#failAll());
      return;
    }
    if (this.#flights.length === 1) this.#worker.ref();
    const endedBefore = Atomics.load(words, WORD.ended);
    Atomics.store(words, slot + SLOT.turn, TURN.ready);
    // Waking costs some ten microseconds, which a worker that is awake does not need.
    if (Atomics.load(words, WORD.asleep) === 1) Atomics.notify(words, slot + SLOT.turn);
    this.#pollsLeft = POLLS_MAX;
    if (this.#flights.length === 1) this.#lookOut(endedBefore);
  }

  /** Looks out for the end of the oldest write. */
  #lookOut(endedBefore: number): void {
    if (this.#flights[0]!.isPolled && this.#pollsLeft > 0) this.#pollSoon();
    else this.#listen(endedBefore);
  }

  #pollSoon(): void {
    if (this.#isPolling) return;
    this.#isPolling = true;
    setImmediate(this.#poll);
  }

  /** Looks in each turn of the event loop whether the write has ended; after many in vain it listens. */
  readonly #poll = (): void => {
    this.#isPolling = false;
    if (this.#flights.length === 0) return;
    this.#pollsLeft--;
    const ended = Atomics.load(this.#words, WORD.ended);
    if (this.#hasEnded(ended)) this.#answer();
    else this.#lookOut(ended);
  };

  /** Whether the oldest write has ended, when the worker has said that this job was the last that did. */
  #hasEnded(ended: number): boolean {
    const oldest = this.#flights[0];
    return oldest !== undefined && ((ended - oldest.job) | 0) >= 0;
  }

  /**
   * Has `#arrived` called once the oldest write has ended, which `endedBefore` may say already. A wait for a word of
   * shared memory comes back sooner than a message, and costs less on both sides.
   */
  #listen(endedBefore: number): void {
    if (this.#isListening) return;
    this.#isListening = true;
    const heard = () => {
      this.#isListening = false;
      const ended = Atomics.load(this.#words, WORD.ended);
      if (this.#hasEnded(ended)) this.#arrived();
      else if (this.#flights.length > 0) this.#listen(ended);
    };
    const waited = this.#hasEnded(endedBefore) ? undefined : waitAsync(this.#words, WORD.ended, endedBefore);
    if (waited?.async) void waited.value.then(heard);
    else queueMicrotask(heard);
  }

  finish(): WriteOutcome | "taken-back" {
    const words = this.#words;
    const { slot } = this.#flights.shift()!;
    if (this.#died !== undefined) return { failed: this.#died };
    const turnAt = slot + SLOT.turn;
    if (Atomics.compareExchange(words, turnAt, TURN.ready, TURN.idle) === TURN.ready) {
      if (this.#flights.length === 0) this.#worker.unref();
      return "taken-back";
    }
    while (Atomics.load(words, turnAt) === TURN.taken) {
      if (Atomics.wait(words, turnAt, TURN.taken, LIVENESS_MS) === "timed-out" && !this.#isAlive()) {
        if (Atomics.load(words, turnAt) === TURN.taken) return { failed: workerDied(undefined) };
      }
    }
    return this.#outcome(slot);
  }

  dropMirror(): void {
    this.#words[WORD.hasMirror] = 0;
  }

  async close(): Promise<void> {
    this.#closing = true;
    // Those behind one that failed: nobody waits for them any more.
    while (this.#flights.length > 0) this.finish();
    this.#worker.ref();
    const turnAt = slotAt(this.#oldest) + SLOT.turn;
    Atomics.store(this.#words, turnAt, TURN.close);
    Atomics.notify(this.#words, turnAt);
    if (this.#died === undefined)
      await new Promise<void>((resolve) => this.#worker.once("exit", () => resolve()));
    this.#lock?.close();
  }

  /**
   * One answer a turn of the event loop: when commits take longer than the disk, the next one lies ready before
   * this one has been dealt with, and the message port would hand over a thousand before timers get their turn.
   */
  #arrived(): void {
    // A write that `finish` ended has been dealt with already.
    if (!this.#hasEnded(Atomics.load(this.#words, WORD.ended))) return;
    if (this.#hasAnswered) {
      setImmediate(() => this.#arrived());
      return;
    }
    this.#hasAnswered = true;
    setImmediate(() => {
      this.#hasAnswered = false;
    });
    this.#answer();
  }

  /** The oldest write has ended. */
  #answer(): void {
    const { slot, done } = this.#flights.shift()!;
    const outcome = this.#outcome(slot);
    if (this.#flights.length > 0) {
      this.#pollsLeft = POLLS_MAX;
      this.#lookOut(Atomics.load(this.#words, WORD.ended));
    }
    done(outcome);
  }

  #outcome(slot: number): WriteOutcome {
    const words = this.#words;
    const outcome = words[slot + SLOT.outcome];
    this.#noteWrites(slot);
    Atomics.store(words, slot + SLOT.turn, TURN.idle);
    this.#oldest = (this.#oldest + 1) % WRITES_MAX;
    if (this.#flights.length === 0) this.#worker.unref();
    if (outcome === OUTCOME.durable) return {};
    const text = new TextDecoder().decode(this.#error.slice(0, words[WORD.errorBytes]));
    const error = fromErrorRecord(JSON.parse(text) as ErrorRecord);
    return outcome === OUTCOME.failed ? { failed: error } : { mirrorFailed: error };
  }

  /** The worker writes past the disk it was given to carry for, which may want to know. */
  #noteWrites(slot: number): void {
    const words = this.#words;
    const sizeBytes = words[slot + SLOT.blocks]! * BLOCK_BYTES;
    for (const [index, path] of this.#directories.entries()) {
      const us = words[slot + (index === 0 ? SLOT.logUs : SLOT.mirrorUs)]!;
      if (us > 0) this.#disk.noteDurableWrite?.({ path: `${path}/`, sizeBytes, us });
    }
  }

  #ended(cause: unknown): void {
    if (this.#closing || this.#died !== undefined) return;
    this.#died = workerDied(cause);
    this.#failAll();
  }

  #failAll(): void {
    const failed = this.#died!;
    for (const { done } of this.#flights.splice(0)) done({ failed });
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
