import { invariant } from "../assert.ts";
import { StoreError } from "../errors.ts";
import { CRITICAL_NAMES_MAX, NAME_BYTES_MAX } from "../limits.ts";
import type { Change, FenceChange, LogRecord } from "./change.ts";
import { IdempotencyKeys, type IdempotencyOptions } from "./idempotency.ts";
import { type Fence, SequenceState } from "./sequence.ts";
import { type Preserver, Table } from "./table.ts";
import { ValuePages } from "./value-pages.ts";

/**
 * Everything critical in memory, as of one LSN: what a snapshot holds and what the log changes. Only durable
 * records are applied here; what transactions have queued lies in the tables' overlays.
 */
export class State {
  /** LSN and time of the last record applied; 0 before the first. */
  lsn = 0;
  timeUs = 0;
  /** What the log's numbers lag behind: 0, but in a copy, whose log begins anew behind the records copied. */
  logBase = 0;
  fence: Fence | undefined;
  /** Fences there have ever been: each gets the next number. */
  fences = 0;
  readonly idempotency: IdempotencyKeys;
  /** Where values are kept that outlive their records. */
  readonly values = new ValuePages();
  /** A snapshot being taken, which must see entries before they change. */
  preserver: Preserver | undefined;
  readonly #tables = new Map<string, Table>();
  readonly #sequences = new Map<string, SequenceState>();
  readonly #tablesById: (Table | undefined)[] = [undefined];
  readonly #sequencesById: (SequenceState | undefined)[] = [undefined];

  constructor(idempotency?: IdempotencyOptions) {
    this.idempotency = new IdempotencyKeys(idempotency);
  }

  /** The table of that name, made on first use; it gets its number with its first write. */
  table(name: string): Table {
    let table = this.#tables.get(name);
    if (table === undefined) {
      checkName(name, "map");
      this.#checkRoom();
      table = new Table(name, this);
      this.#tables.set(name, table);
    }
    return table;
  }

  /** The same for somebody who only reads: a name that nobody has used does not take a place here. */
  findTable(name: string): Table {
    const table = this.#tables.get(name);
    if (table !== undefined) return table;
    checkName(name, "map");
    return new Table(name, this);
  }

  sequence(name: string): SequenceState {
    let sequence = this.#sequences.get(name);
    if (sequence === undefined) {
      checkName(name, "sequence");
      this.#checkRoom();
      sequence = new SequenceState(name, this);
      this.#sequences.set(name, sequence);
    }
    return sequence;
  }

  /** Maps and sequences that exist in the data, in the order of their numbers. */
  tables(): Table[] {
    return this.#tablesById.filter((table) => table !== undefined);
  }

  sequences(): SequenceState[] {
    return this.#sequencesById.filter((sequence) => sequence !== undefined);
  }

  /** What there is, by name. */
  contents(): {
    maps: { name: string; entries: number; version: number }[];
    sequences: { name: string; next: bigint; fenced: boolean }[];
  } {
    const maps = this.tables().map(({ name, size, storedVersion }) => {
      return { name, entries: size, version: storedVersion };
    });
    const sequences = this.sequences().map((sequence) => {
      return { name: sequence.name, next: sequence.visibleNext, fenced: this.isFenced(sequence) };
    });
    return { maps, sequences };
  }

  tableById(id: number): Table | undefined {
    return this.#tablesById[id];
  }

  sequenceById(id: number): SequenceState | undefined {
    return this.#sequencesById[id];
  }

  /** Gives a table its number: the next one, or the one a record says. */
  defineTable(table: Table, id = this.#tablesById.length): number {
    invariant(id === this.#tablesById.length && table.id === 0, "map numbers are given in order");
    table.id = id;
    this.#tablesById.push(table);
    return id;
  }

  defineSequence(sequence: SequenceState, id = this.#sequencesById.length): number {
    invariant(id === this.#sequencesById.length && sequence.id === 0, "sequence numbers are given in order");
    sequence.id = id;
    this.#sequencesById.push(sequence);
    return id;
  }

  /** Takes back the numbers a failed transaction gave out last. */
  undefineTable(table: Table): void {
    invariant(this.#tablesById.at(-1) === table, "map numbers are taken back in reverse order");
    this.#tablesById.pop();
    table.id = 0;
  }

  undefineSequence(sequence: SequenceState): void {
    invariant(this.#sequencesById.at(-1) === sequence, "sequence numbers are taken back in reverse order");
    this.#sequencesById.pop();
    sequence.id = 0;
  }

  get nextTableId(): number {
    return this.#tablesById.length;
  }

  get nextSequenceId(): number {
    return this.#sequencesById.length;
  }

  isFenced(sequence: SequenceState): boolean {
    return this.fence !== undefined && sequence.adoptedFence < this.fence.number;
  }

  /** Publishes one durable record; fills in what each change replaced. */
  apply(record: LogRecord): void {
    const { changes, lsn } = record;
    for (let i = 0; i < changes.length; i++) this.#applyChange(changes[i]!);
    this.lsn = lsn;
    this.timeUs = record.timeUs;
    if (record.idempotencyKey !== undefined) {
      const { timeUs, valueBytes = "" } = record;
      this.idempotency.remember(record.idempotencyKey, { lsn, timeUs, valueBytes });
    }
  }

  #applyChange(change: Change): void {
    switch (change.kind) {
      case "put":
        change.before = change.table.put(change, this.preserver);
        return;
      case "delete":
        change.before = change.table.remove(change.key, this.preserver);
        return;
      case "clear":
        change.cleared = change.table.clear(this.preserver);
        return;
      case "sequence": {
        const { sequence, next } = change;
        change.before = sequence.durableNext;
        sequence.durableNext = next;
        if (change.adopts) sequence.adoptedFence = this.fence?.number ?? 0;
        return;
      }
      case "fence":
        this.applyFence(change);
        return;
    }
  }

  /** @internal */
  applyFence({ fence }: FenceChange): void {
    this.fence = fence;
    if (fence !== undefined) this.fences = fence.number;
  }

  /** Forgets all data but keeps the tables and sequences programs hold, for a reader that starts over. */
  reset(): void {
    for (const table of this.#tables.values()) {
      table.clear(undefined);
      table.id = 0;
      table.storedVersion = 0;
    }
    for (const sequence of this.#sequences.values()) {
      sequence.id = 0;
      sequence.adoptedFence = 0;
      sequence.recovered(1n);
    }
    this.#tablesById.length = 1;
    this.#sequencesById.length = 1;
    this.idempotency.clear();
    this.fence = undefined;
    this.fences = 0;
    this.lsn = 0;
    this.timeUs = 0;
    this.logBase = 0;
  }

  #checkRoom(): void {
    if (this.#tables.size + this.#sequences.size < CRITICAL_NAMES_MAX) return;
    throw new StoreError("ERR_LIMIT", `a store holds at most ${CRITICAL_NAMES_MAX} maps and sequences`, {
      context: { limit: CRITICAL_NAMES_MAX },
      hint: "Use keys within a map instead of a map for each.",
    });
  }
}

function checkName(name: unknown, what: string): void {
  const wellFormed =
    typeof name === "string" &&
    name.length > 0 &&
    Buffer.byteLength(name) <= NAME_BYTES_MAX &&
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
    !/[\u0000-\u001f\u007f]/.test(name) &&
    (name as unknown as { isWellFormed(): boolean }).isWellFormed();
  if (wellFormed) return;
  throw new StoreError(
    "ERR_INVALID_ARGUMENT",
    `a ${what} name must have 1 to ${NAME_BYTES_MAX} bytes and no control characters`,
    { context: { name } },
  );
}
