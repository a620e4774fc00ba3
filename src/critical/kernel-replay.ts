import { StoreError } from "../errors.ts";
import type { RecoveryKernel } from "../kernels/recovery-kernel.ts";
import { RECOVERY_LOG_BYTES_MAX, RECOVERY_RECORDS_MAX } from "../limits.ts";
import type { Journal, RecordVisitor } from "../wal/journal.ts";
import type { RecordPlaces } from "../wal/record-places.ts";
import { ByteReader } from "./byte-reader.ts";
import { ReplacedRows } from "./cold-rows.ts";
import { KernelState } from "./kernel-state.ts";
import type { ReplayedRecords } from "./recent-records.ts";
import { type RecordPlace, readChange, readRecord } from "./record-reader.ts";
import type { Slot } from "./slot.ts";
import type { State } from "./state.ts";

/** What the kernel's `replay` ends with (assembly/recovery/replay.ts). */
const DONE = 0;
const YOURS = 1;
const BAD = 2;

/** Numbers of a record's place, and of a sequence in words. */
const PLACE_NUMBERS = 4;
const SEQUENCE_WORDS = 4;
const ADOPTED = 2;
const DEFINED = 3;

/**
 * Finds room in the kernel's memory for the records of a journal from an LSN on, unless they lie there already.
 *
 * @returns `undefined` when they are too many.
 * @throws ERR_STORE_CORRUPT, ERR_NOT_FOUND as `Journal.scan`
 */
export function placesOf(journal: Journal, lsn: bigint, kernel: RecoveryKernel): RecordPlaces | undefined {
  const count = Math.max(0, Number(journal.durableLsn + 1n - lsn));
  if (count > RECOVERY_RECORDS_MAX) return undefined;
  const placed = journal.place?.(lsn, kernel);
  if (placed !== undefined) return placed;
  return copyRecords(kernel, Number(lsn), count, (visit) => journal.scan(lsn, visit));
}

/** Copies so many records to the kernel's memory; `undefined` when they are too large, or not those that were meant. */
export function copyRecords(
  kernel: RecoveryKernel,
  firstLsn: number,
  count: number,
  scan: (visit: RecordVisitor) => void,
): RecordPlaces | undefined {
  const { exports } = kernel;
  if (count > RECOVERY_RECORDS_MAX) return undefined;
  const places = exports.beginRecords(firstLsn, count) >>> 0;
  let next = firstLsn;
  let leftBytes = RECOVERY_LOG_BYTES_MAX;
  scan((bytes, offset, end, lsn, timeUs) => {
    const sizeBytes = end - offset;
    leftBytes -= sizeBytes;
    if (lsn !== next || next === firstLsn + count || leftBytes < 0) return;
    next++;
    const at = kernel.take(sizeBytes);
    kernel.memory.set(bytes.subarray(offset, end), at);
    exports.placeAt(at, at + sizeBytes, timeUs);
  });
  return next === firstLsn + count && leftBytes >= 0 ? { at: places, count } : undefined;
}

/**
 * Applies placed records to a state whose entries are still the kernel's, and leaves them so. What only JavaScript can
 * apply, which is rare, the kernel leaves to it in the middle of a record.
 */
export class KernelReplay {
  readonly #kernel: RecoveryKernel;
  readonly #entries: KernelState;
  readonly #state: State;
  readonly #places: RecordPlaces;
  readonly #firstLsn: number;
  /** What clears removed, by the number of the change. */
  readonly #rare = new Map<number, readonly Slot[]>();
  readonly #input = new ByteReader("critical record", Buffer.alloc(0));

  constructor(entries: KernelState, state: State, places: RecordPlaces) {
    this.#kernel = entries.kernel;
    this.#entries = entries;
    this.#state = state;
    this.#places = places;
    this.#firstLsn = state.lsn + 1;
  }

  /** @throws ERR_STORE_CORRUPT when a record makes no sense */
  run(): void {
    const { exports } = this.#kernel;
    const state = this.#state;
    const { at, count } = this.#places;
    this.#entries.index(state, count);
    exports.beginReplay(at, count, this.#firstLsn, KernelState.sequences);
    for (const sequence of state.sequences()) this.#tell(sequence.id);
    exports.setFence(state.fence?.number ?? 0);
    for (let ended = exports.replay(); ended !== DONE; ended = exports.replay()) {
      if (ended === BAD) throw this.#bad(this.#placeOf(exports.replayRecord()));
      if (ended === YOURS) this.#applyRare(this.#placeOf(exports.replayRecord()), exports.replayPosition());
    }
    this.#takeSequences();
    this.#takeNotes();
    if (count === 0) return;
    const last = this.#placeOf(count - 1);
    state.lsn = last.lsn;
    state.timeUs = last.timeUs;
  }

  /** What was replayed, for the history; the kernel's memory must not move any more. */
  records(): ReplayedRecords {
    const { at, count } = this.#places;
    return {
      firstLsn: this.#firstLsn,
      count,
      buffer: this.#kernel.memory,
      columns: new Float64Array(this.#kernel.memory.buffer, at, count * PLACE_NUMBERS),
      replaced: new ReplacedRows(this.#kernel, this.#rare),
    };
  }

  #placeOf(record: number): RecordPlace {
    const numbers = new Float64Array(
      this.#kernel.memory.buffer,
      this.#places.at + record * PLACE_NUMBERS * 8,
      PLACE_NUMBERS,
    );
    const [offset, end, timeUs] = numbers as unknown as [number, number, number];
    return { buffer: this.#kernel.memory, offset, end, lsn: this.#firstLsn + record, timeUs };
  }

  /** The words of a sequence in the kernel. */
  #wordsOf(id: number): Uint32Array {
    const { exports } = this.#kernel;
    return this.#kernel.words(exports.sequenceTable() + id * SEQUENCE_WORDS * 4, SEQUENCE_WORDS);
  }

  /** The kernel gets to know a sequence. */
  #tell(id: number): void {
    const { durableNext, adoptedFence } = this.#state.sequenceById(id)!;
    const words = this.#wordsOf(id);
    new BigInt64Array(words.buffer, words.byteOffset, 1)[0] = durableNext;
    words[ADOPTED] = adoptedFence;
    words[DEFINED] = 1;
  }

  #takeSequences(): void {
    for (const sequence of this.#state.sequences()) {
      const words = this.#wordsOf(sequence.id);
      sequence.durableNext = new BigInt64Array(words.buffer, words.byteOffset, 1)[0]!;
      sequence.adoptedFence = words[ADOPTED]!;
    }
  }

  #takeNotes(): void {
    const { exports } = this.#kernel;
    const notes = this.#kernel.words(exports.noteList(), exports.notesSoFar() * 2);
    const input = this.#input;
    for (let at = 0; at < notes.length; at += 2) {
      const { buffer, end, lsn, timeUs } = this.#placeOf(notes[at]!);
      input.reuse(buffer, notes[at + 1]!, end);
      const key = input.text16();
      this.#state.idempotency.remember(key, { lsn, timeUs, valueBytes: input.latin1(input.length()) });
    }
  }

  /** Definitions, clears and fences. */
  #applyRare({ buffer, end, lsn }: RecordPlace, position: number): void {
    const { exports } = this.#kernel;
    const state = this.#state;
    const input = this.#input;
    input.reuse(buffer, position >>> 0, end);
    const [tables, sequences] = [state.nextTableId, state.nextSequenceId];
    const change = readChange(input, input.u8(), lsn, state);
    const next = input.position;
    if (state.nextTableId > tables) {
      this.#entries.makeIndex(state.tableById(tables)!, 0);
    }
    if (state.nextSequenceId > sequences) this.#tell(sequences);
    if (change?.kind === "clear") {
      const cleared = this.#entries.clear(change.table);
      this.#rare.set(exports.beforeYours(), cleared);
    } else if (change?.kind === "fence") {
      state.applyFence(change);
      exports.setFence(state.fence?.number ?? 0);
      exports.beforeYours();
    }
    exports.replayResume(next);
  }

  /** Reading it again says what is wrong with it. */
  #bad(place: RecordPlace): unknown {
    try {
      readRecord(place, this.#state);
    } catch (error) {
      return error;
    }
    return new StoreError("ERR_STORE_CORRUPT", `the log record with LSN ${place.lsn} makes no sense`, {
      context: { lsn: BigInt(place.lsn) },
      hint: "Run varve check; a backup or a mirror holds the same record.",
    });
  }
}
