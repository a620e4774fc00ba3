import type { DurableMethod } from "../disk/disk.ts";

/** Writes handed over at a time: while one is on its way, the next lies ready. */
export const WRITES_MAX = 2;

/**
 * The memory through which a thread hands writes to the log worker: a few words for both, and a slot for each write.
 * The worker takes the slots in turn. A slot's first word says whose turn it is; its others belong to whoever has
 * the turn.
 */
export const WORD = {
  /** The job that ended last: what a thread that does not block is woken by. */
  ended: 0,
  /** The worker sleeps, or is about to: who hands it a write wakes it. */
  asleep: 1,
  hasMirror: 2,
  errorBytes: 3,
} as const;

/** Places of a slot's words from its first on. */
export const SLOT = {
  turn: 0,
  job: 1,
  sequenceLow: 2,
  sequenceHigh: 3,
  blocks: 4,
  buffer: 5,
  outcome: 6,
  /** Microseconds that the write to the log took, and in the next word to its mirror; 0 when it was not made. */
  logUs: 7,
  mirrorUs: 8,
  /** 1 when the next write can be expected soon. */
  isBusy: 9,
} as const;

/** Where a slot's words begin; each has a cache line of its own. */
export function slotAt(index: number): number {
  return 16 * (1 + index);
}

export const TURN = {
  /** Nothing to do. */
  idle: 0,
  /** A write waits; the owner may still take it back. */
  ready: 1,
  /** The worker is writing. */
  taken: 2,
  /** The write has ended; the owner reads how. */
  done: 3,
  /** The worker is to end. */
  close: 4,
} as const;

export const OUTCOME = { durable: 0, failed: 1, mirrorFailed: 2 } as const;

const WORD_BYTES = 4 * slotAt(WRITES_MAX);
const ERROR_BYTES_MAX = 4096;

export interface Handover {
  words: Int32Array;
  /** UTF-8 JSON of the error, `errorBytes` long. */
  error: Uint8Array;
}

export function createHandoverMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(WORD_BYTES + ERROR_BYTES_MAX);
}

export function openHandover(memory: SharedArrayBuffer): Handover {
  return {
    words: new Int32Array(memory, 0, WORD_BYTES / 4),
    error: new Uint8Array(memory, WORD_BYTES, ERROR_BYTES_MAX),
  };
}

/** Held by the worker while it lives: the kernel frees it when the thread ends, which a blocked owner can see. */
export const WORKER_LOCK_NAME = "log-worker.lock";

/** What the worker is started with. */
export interface LogWorkerData {
  directories: string[];
  segmentBlocks: number;
  durable: DurableMethod | undefined;
  handover: SharedArrayBuffer;
  /** The group buffers, page-aligned. */
  buffers: Uint8Array[];
}
