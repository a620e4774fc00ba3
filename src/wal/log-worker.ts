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
  TURN,
  WORD,
  WORKER_LOCK_NAME,
} from "./handover.ts";
import { Segments } from "./segments.ts";

/** The log worker: writes what it is handed, one write at a time, and says how each went. */
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
  for (;;) {
    const turn = Atomics.load(words, WORD.turn);
    if (turn === TURN.close) break;
    if (turn !== TURN.ready) {
      Atomics.wait(words, WORD.turn, turn);
      continue;
    }
    if (Atomics.compareExchange(words, WORD.turn, TURN.ready, TURN.taken) !== TURN.ready) continue;
    const job = words[WORD.job]!;
    report(handover, write(data, words, copies));
    Atomics.store(words, WORD.turn, TURN.done);
    Atomics.store(words, WORD.ended, job);
    Atomics.notify(words, WORD.ended);
    // Somebody may block until then.
    Atomics.notify(words, WORD.turn);
  }
  for (const copy of copies) copy.close();
  lock.close();
}

function write(data: LogWorkerData, words: Int32Array, copies: readonly Segments[]): WriteOutcome {
  const sequence = (words[WORD.sequenceHigh]! >>> 0) * 2 ** 32 + (words[WORD.sequenceLow]! >>> 0);
  const bytes = data.buffers[words[WORD.buffer]!]!.subarray(0, words[WORD.blocks]! * BLOCK_BYTES);
  words[WORD.logUs] = 0;
  words[WORD.mirrorUs] = 0;
  const written = words[WORD.hasMirror] === 1 ? copies : copies.slice(0, 1);
  return writeToAll(written, sequence, bytes, (copy, us) => {
    words[copy === 0 ? WORD.logUs : WORD.mirrorUs] = Math.max(1, Math.min(us, 0x7fffffff));
  });
}

function report(handover: Handover, outcome: WriteOutcome): void {
  const { words, error } = handover;
  const cause = outcome.failed ?? outcome.mirrorFailed;
  words[WORD.outcome] =
    cause === undefined ? OUTCOME.durable : outcome.failed ? OUTCOME.failed : OUTCOME.mirrorFailed;
  if (cause === undefined) return;
  const { code, message, retryable } = toErrorRecord(cause);
  const record = { code, message: message.slice(0, 1000), retryable, context: {} };
  words[WORD.errorBytes] = new TextEncoder().encodeInto(JSON.stringify(record), error).written;
}

run(workerData as LogWorkerData);
