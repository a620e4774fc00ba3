import { workerData } from "node:worker_threads";
import { realDisk } from "../disk/real-disk.ts";
import { toErrorRecord } from "../errors.ts";
import { type WriteOutcome, writeToAll } from "./carrier.ts";
import { BLOCK_BYTES } from "./format.ts";
import {
  type Handover,
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
import { Segments } from "./segments.ts";

/**
 * So long the worker of a busy log looks for its next write before it sleeps: being woken takes it some thirty, and the
 * thread that wakes it nearly as many.
 */
const AWAKE_US = 100;
/** Looks between two looks at the clock. */
const LOOKS = 50;

/**
 * The log worker: writes what it is handed, one write at a time, and says how each went. A write is begun only once
 * the one before it is durable; after one that failed it writes nothing more.
 */
function run(data: LogWorkerData): void {
  const handover = openHandover(data.handover);
  const { words } = handover;
  const copies = data.directories.map(
    (directory) =>
      new Segments({
        disk: realDisk,
        directory,
        segmentBlocks: data.segmentBlocks,
        ...(data.durable === undefined ? {} : { durable: data.durable }),
      }),
  );
  const lock = realDisk.open(`${data.directories[0]}/${WORKER_LOCK_NAME}`, {
    access: "write",
    create: "may",
  });
  lock.tryLock("exclusive");
  let failed: WriteOutcome | undefined;
  let isBusy = false;
  for (let index = 0; ; index = (index + 1) % WRITES_MAX) {
    const slot = slotAt(index);
    if (isBusy) awaitTurn(words, slot + SLOT.turn);
    if (!take(words, slot + SLOT.turn)) break;
    const job = words[slot + SLOT.job]!;
    isBusy = words[slot + SLOT.isBusy] === 1;
    const outcome = failed ?? write(data, words, slot, copies);
    if (outcome.failed !== undefined) failed = outcome;
    report(handover, slot, outcome);
    Atomics.store(words, slot + SLOT.turn, TURN.done);
    Atomics.store(words, WORD.ended, job);
    Atomics.notify(words, WORD.ended);
    // Somebody may block until then.
    Atomics.notify(words, slot + SLOT.turn);
  }
  for (const copy of copies) copy.close();
  lock.close();
}

/** Returns once a slot has a write, or after a while. */
function awaitTurn(words: Int32Array, turnAt: number): void {
  const untilMs = performance.now() + AWAKE_US / 1000;
  while (performance.now() < untilMs) {
    for (let look = 0; look < LOOKS; look++) if (Atomics.load(words, turnAt) !== TURN.idle) return;
  }
}

/** Waits for the write of a slot and takes it; `false` when there will be none. */
function take(words: Int32Array, turnAt: number): boolean {
  for (;;) {
    const turn = Atomics.load(words, turnAt);
    if (turn === TURN.close) return false;
    if (turn === TURN.ready) {
      if (Atomics.compareExchange(words, turnAt, TURN.ready, TURN.taken) === TURN.ready) return true;
      continue;
    }
    // Whoever changes the turn after this sees that it must wake the worker; whoever did before lets it not sleep.
    Atomics.store(words, WORD.asleep, 1);
    Atomics.wait(words, turnAt, turn);
    Atomics.store(words, WORD.asleep, 0);
  }
}

function write(
  data: LogWorkerData,
  words: Int32Array,
  slot: number,
  copies: readonly Segments[],
): WriteOutcome {
  const low = words[slot + SLOT.sequenceLow]! >>> 0;
  const sequence = (words[slot + SLOT.sequenceHigh]! >>> 0) * 2 ** 32 + low;
  const bytes = data.buffers[words[slot + SLOT.buffer]!]!.subarray(
    0,
    words[slot + SLOT.blocks]! * BLOCK_BYTES,
  );
  words[slot + SLOT.logUs] = 0;
  words[slot + SLOT.mirrorUs] = 0;
  const written = words[WORD.hasMirror] === 1 ? copies : copies.slice(0, 1);
  return writeToAll(written, sequence, bytes, (copy, us) => {
    words[slot + (copy === 0 ? SLOT.logUs : SLOT.mirrorUs)] = Math.max(1, Math.min(us, 0x7fffffff));
  });
}

function report(handover: Handover, slot: number, outcome: WriteOutcome): void {
  const { words, error } = handover;
  const cause = outcome.failed ?? outcome.mirrorFailed;
  words[slot + SLOT.outcome] =
    cause === undefined ? OUTCOME.durable : outcome.failed ? OUTCOME.failed : OUTCOME.mirrorFailed;
  if (cause === undefined) return;
  const { code, message, retryable } = toErrorRecord(cause);
  const record = { code, message: message.slice(0, 1000), retryable, context: {} };
  words[WORD.errorBytes] = new TextEncoder().encodeInto(JSON.stringify(record), error).written;
}

run(workerData as LogWorkerData);
