import { fromErrorRecord, type StoreError, toErrorRecord } from "../errors.ts";
import type { Segments } from "./segments.ts";

/** How a write to the log and its mirror went; both fields absent: it is durable on both. */
export interface WriteOutcome {
  /** The log itself failed: nothing may be acknowledged any more. */
  failed?: StoreError;
  /** Only the mirror failed. */
  mirrorFailed?: StoreError;
}

/** Durable on every copy. */
const DURABLE: WriteOutcome = Object.freeze({});

/** Told how long the write to a copy took, 0 being the log and 1 its mirror. */
export type OnCopyWritten = (copy: 0 | 1, us: number) => void;

/** Writes blocks durably to the log and then to its mirror. */
export function writeToAll(
  copies: readonly Segments[],
  sequence: number,
  bytes: Uint8Array,
  onWritten?: OnCopyWritten,
): WriteOutcome {
  const start = onWritten === undefined ? 0 : performance.now();
  let logUs = 0;
  try {
    copies[0]!.write(sequence, bytes);
    if (onWritten !== undefined) {
      logUs = (performance.now() - start) * 1000;
      onWritten(0, logUs);
    }
  } catch (error) {
    return { failed: fromErrorRecord(toErrorRecord(error)) };
  }
  try {
    if (copies.length > 1) {
      copies[1]!.write(sequence, bytes);
      onWritten?.(1, (performance.now() - start) * 1000 - logUs);
    }
  } catch (error) {
    return { mirrorFailed: fromErrorRecord(toErrorRecord(error)) };
  }
  return DURABLE;
}

/** One write on its way to the disk. `bytes` stay untouched until it ends. */
export interface CarriedWrite {
  sequence: number;
  bytes: Uint8Array;
  /** Which of the log's group buffers the bytes begin. */
  buffer: number;
  /** How many records it holds. */
  records: number;
}

/** Told how a write went. */
export type OnCarried = (outcome: WriteOutcome) => void;

/**
 * Takes writes to the disk off the caller's thread, in their order. Two may be with it: the second is begun once the
 * first is durable, and never if that failed.
 */
export interface WriteCarrier {
  /** Takes a write; `done` is called on the caller's thread when it has ended, unless `finish` ended it first. */
  start(write: CarriedWrite, done: OnCarried): void;
  /**
   * Ends the oldest write, waiting as long as that takes. `taken-back`: it had not begun and never will, so the caller
   * writes it, and then ends the one behind it too before it starts another.
   */
  finish(): WriteOutcome | "taken-back";
  /** The log goes on without its mirror. */
  dropMirror(): void;
  close(): Promise<void>;
}

/**
 * A carrier without a thread: each write happens in a later turn of the event loop, as a disk's takes longer than one. For
 * disks that live in this thread's memory.
 */
export function createInlineCarrier(copies: () => readonly Segments[]): WriteCarrier {
  const waiting: { write: CarriedWrite; done: OnCarried }[] = [];
  let failed: WriteOutcome | undefined;
  return {
    start(write, done) {
      const begun = { write, done };
      waiting.push(begun);
      const carry = () => {
        if (waiting[0] !== begun) return;
        waiting.shift();
        const outcome = failed ?? writeToAll(copies(), write.sequence, write.bytes);
        if (outcome.failed !== undefined) failed = outcome;
        done(outcome);
      };
      setImmediate(() => setImmediate(carry));
    },
    finish() {
      waiting.shift();
      return "taken-back";
    },
    dropMirror() {},
    async close() {},
  };
}
