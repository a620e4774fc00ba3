import { StoreError } from "../errors.ts";
import { TRANSACTION_CHANGES_MAX } from "../limits.ts";
import { type Annotations, type Change, type LogRecord, MapChange, type RecordKind } from "./change.ts";
import type { Entry } from "./entry.ts";
import type { RecordPlace } from "./record-reader.ts";
import type { Table } from "./table.ts";

const NOWHERE = Buffer.alloc(0);
/** Changes of one record that wait for the next one that takes this draft. */
const SPARE_MAX = 8;

/** Stands for the callers of a commit that has none. */
export const nobody = (): void => {};

/**
 * A record on its way: from the callback that makes its changes until it is durable, in memory and in the history.
 * Then another commit takes the same draft: made anew for each, drafts and their changes would be most of what the
 * collector has to move.
 */
export class Draft implements LogRecord, RecordPlace {
  kind: RecordKind = "transaction";
  readonly changes: Change[] = [];
  annotations: Annotations | undefined = undefined;
  idempotencyKey: string | undefined = undefined;
  valueBytes: string | undefined = undefined;
  cut: LogRecord["cut"] = undefined;
  /** Where its bytes lie once it is finished. */
  buffer: Buffer = NOWHERE;
  offset = 0;
  end = 0;
  /** The LSN it gets if it is written. */
  lsn = 0;
  timeUs = 0;
  /** Why it cannot be committed any more, even if the callback caught the error. */
  doom: StoreError | undefined = undefined;
  /** A change was begun and not finished: the bytes no longer say what happened. */
  halfway = false;
  /** What its callback returned, when it was called, and who waits for the receipt, if somebody does. */
  value: unknown = undefined;
  startMs = 0;
  resolve: (receipt: { lsn: bigint; timeUs: bigint; value: unknown }) => void = nobody;
  reject: (error: unknown) => void = nobody;
  /** What this transaction defined or moved, for taking it back. */
  readonly #undo: (() => void)[] = [];
  readonly #spare: MapChange[] = [];

  begin(kind: RecordKind, lsn: number, timeUs: number): void {
    this.kind = kind;
    this.lsn = lsn;
    this.timeUs = timeUs;
  }

  /**
   * A change of a key; `add` makes it one of this record's. One too many is refused here: once it covers its key it must
   * be among those that a rollback takes back.
   */
  mapChange(kind: MapChange["kind"], table: Table, key: string, after: Entry | undefined): MapChange {
    if (this.changes.length >= TRANSACTION_CHANGES_MAX) throw tooManyChanges();
    const spare = this.#spare.pop();
    if (spare === undefined) return new MapChange(kind, table, key, after);
    spare.kind = kind;
    spare.table = table;
    spare.key = key;
    spare.after = after;
    return spare;
  }

  add(change: Change): void {
    if (this.changes.length >= TRANSACTION_CHANGES_MAX) throw tooManyChanges();
    this.changes.push(change);
  }

  undoing(undo: () => void): void {
    this.#undo.push(undo);
  }

  /** Throws what keeps it from being committed, if anything does. */
  check(): void {
    if (this.doom !== undefined) throw this.doom;
    if (!this.halfway) return;
    throw new StoreError("ERR_INVALID_ARGUMENT", "a change failed halfway and the callback went on", {
      hint: "Let errors of a transaction leave its callback. Nothing was changed.",
    });
  }

  /** Takes everything back, newest first. */
  rollback(): void {
    for (let i = this.changes.length - 1; i >= 0; i--) {
      const change = this.changes[i]!;
      if (change.kind === "put" || change.kind === "delete") change.table.takeBack(change);
      else if (change.kind === "clear") {
        for (const hidden of change.hiding.reverse()) hidden.table.takeBack(hidden);
      }
    }
    for (const undo of this.#undo.reverse()) undo();
  }

  /** Its changes are durable and in memory: what covered them goes, unless a later write covers it. */
  uncover(): void {
    for (let i = 0; i < this.changes.length; i++) {
      const change = this.changes[i]!;
      if (change.kind === "put" || change.kind === "delete") change.table.uncover(change);
      else if (change.kind === "clear") for (const hidden of change.hiding) hidden.table.uncover(hidden);
    }
  }

  /** Forgets everything: the next commit may take it. */
  clear(): void {
    // Taken off one by one: setting the length to 0 is a call, and the next change would allocate anew.
    for (let change = this.changes.pop(); change !== undefined; change = this.changes.pop()) {
      if (change.kind !== "put" && change.kind !== "delete") continue;
      change.forget();
      if (this.#spare.length < SPARE_MAX) this.#spare.push(change);
    }
    if (this.#undo.length > 0) this.#undo.length = 0;
    this.annotations = undefined;
    this.idempotencyKey = undefined;
    this.valueBytes = undefined;
    this.cut = undefined;
    this.buffer = NOWHERE;
    this.doom = undefined;
    this.halfway = false;
    this.value = undefined;
    this.resolve = nobody;
    this.reject = nobody;
  }
}

function tooManyChanges(): StoreError {
  return new StoreError("ERR_LIMIT", `a transaction of more than ${TRANSACTION_CHANGES_MAX} changes`, {
    context: { limit: TRANSACTION_CHANGES_MAX },
    hint: "Split it into several commits.",
  });
}
