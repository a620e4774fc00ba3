import { StoreError } from "../../src/errors.ts";
import type {
  Appended,
  Journal,
  JournalEntry,
  JournalWrite,
  RecordVisitor,
  Waiter,
} from "../../src/wal/journal.ts";

/**
 * A journal in memory: what is durable outlives the journal (`crashed` gives what a new process would find), what
 * was appended asynchronously becomes durable a turn later, in order.
 */
export class MemoryJournal implements Journal {
  readonly #entries: JournalEntry[];
  #queued: { entry: JournalEntry; waiter: Waiter }[] = [];
  #firstLsn: bigint;
  #flushing = false;
  /** Thrown by the next append instead of keeping the record. */
  failure: unknown;

  constructor(entries: JournalEntry[] = [], firstLsn = 1n) {
    this.#entries = entries;
    this.#firstLsn = firstLsn;
  }

  get durableLsn(): bigint {
    return this.#firstLsn + BigInt(this.#entries.length) - 1n;
  }

  /** The journal as the next process finds it: queued records are gone. */
  crashed(): MemoryJournal {
    return new MemoryJournal(this.#entries.slice(), this.#firstLsn);
  }

  /** Loses the last durable records, as rot or a rolled-back disk would. */
  truncated(count: number): MemoryJournal {
    return new MemoryJournal(this.#entries.slice(0, this.#entries.length - count), this.#firstLsn);
  }

  appendSync(record: JournalWrite): Appended {
    this.#fail();
    this.#flush();
    const entry = this.#entry(record, this.durableLsn + 1n);
    this.#entries.push(entry);
    return { lsn: entry.lsn };
  }

  enqueue(record: JournalWrite, waiter: Waiter): void {
    const entry = this.#entry(record, this.durableLsn + BigInt(this.#queued.length) + 1n);
    this.#queued.push({ entry, waiter });
    if (this.#flushing) return;
    this.#flushing = true;
    setImmediate(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  *read(lsn: bigint): Iterable<JournalEntry> {
    if (lsn < this.#firstLsn) throw new StoreError("ERR_NOT_FOUND", `LSN ${lsn} was trimmed`);
    yield* this.#entries.slice(Number(lsn - this.#firstLsn));
  }

  scan(lsn: bigint, visit: RecordVisitor): void {
    for (const { lsn: each, timeUs, payload } of this.read(lsn)) {
      visit(Buffer.from(payload), 0, payload.byteLength, Number(each), Number(timeUs));
    }
  }

  trim(lsn: bigint): void {
    if (lsn <= this.#firstLsn) return;
    this.#entries.splice(0, Number(lsn - this.#firstLsn));
    this.#firstLsn = lsn;
  }

  get firstLsn(): bigint {
    return this.#firstLsn;
  }

  async close(): Promise<void> {
    this.#flush();
  }

  #entry(record: JournalWrite, lsn: bigint): JournalEntry {
    return { lsn, timeUs: BigInt(record.timeUs), payload: record.buffer.slice(record.offset, record.end) };
  }

  #flush(): void {
    for (const { entry, waiter } of this.#queued.splice(0)) {
      if (this.failure !== undefined) {
        waiter.reject(this.failure as StoreError);
        continue;
      }
      this.#entries.push(entry);
      waiter.resolve(Number(entry.lsn));
    }
  }

  #fail(): void {
    if (this.failure !== undefined) throw this.failure;
  }
}
