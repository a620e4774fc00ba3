import type { LogRecord } from "./change.ts";
import { type RecordPlace, readRecord } from "./record-reader.ts";
import type { State } from "./state.ts";
import type { Entry, Slot } from "./table.ts";

const ARENA_BYTES = 1 << 20;

/**
 * Records replayed from the log when the store was opened, until history has sealed them: their payloads in a few
 * large buffers, and beside them only what each change replaced. Forty thousand of them as objects would cost the
 * opening more in garbage collection than everything else together.
 */
export class ReplayedRecords {
  readonly #state: State;
  #arena: Buffer = Buffer.alloc(0);
  #arenaUsed = 0;
  readonly #places: RecordPlace[] = [];
  /** What the changes of all records replaced, one after the other. */
  readonly #befores: (Entry | bigint | readonly Slot[] | undefined)[] = [];
  readonly #firstBefore: number[] = [];

  constructor(state: State) {
    this.#state = state;
  }

  get count(): number {
    return this.#places.length;
  }

  /** Copies a payload to where it stays. */
  place(payload: Uint8Array, lsn: number, timeUs: number): RecordPlace {
    const sizeBytes = payload.byteLength;
    if (this.#arena.byteLength - this.#arenaUsed < sizeBytes) {
      this.#arena = Buffer.allocUnsafeSlow(Math.max(ARENA_BYTES, sizeBytes));
      this.#arenaUsed = 0;
    }
    const offset = this.#arenaUsed;
    this.#arena.set(payload, offset);
    this.#arenaUsed += sizeBytes;
    return { buffer: this.#arena, offset, end: offset + sizeBytes, lsn, timeUs };
  }

  /** Remembers an applied record. */
  add(place: RecordPlace, { changes }: LogRecord): void {
    this.#places.push(place);
    this.#firstBefore.push(this.#befores.length);
    for (let i = 0; i < changes.length; i++) {
      const change = changes[i]!;
      if (change.kind === "clear") this.#befores.push(change.cleared);
      else if (change.kind === "fence") this.#befores.push(undefined);
      else this.#befores.push(change.before);
    }
  }

  /** A record as it was when it had been applied. */
  record(index: number): LogRecord {
    const record = readRecord(this.#places[index]!, this.#state);
    let at = this.#firstBefore[index]!;
    for (const change of record.changes) {
      const before = this.#befores[at++];
      if (change.kind === "clear") change.cleared = before as readonly Slot[];
      else if (change.kind === "sequence") change.before = before as bigint;
      else if (change.kind !== "fence") change.before = before as Entry | undefined;
    }
    return record;
  }

  lsnOf(index: number): number {
    return this.#places[index]!.lsn;
  }
}
