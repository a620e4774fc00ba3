import { invariant } from "../assert.ts";
import { InvariantError, isStoreError, StoreError } from "../errors.ts";
import { COMMITS_IN_FLIGHT_MAX, CUT_RECORD_BYTES_MAX, WAL_QUEUE_BYTES_MAX } from "../limits.ts";
import type { Journal, Waiter } from "../wal/journal.ts";
import type { Annotations, LogRecord, RecordKind } from "./change.ts";
import type { Clock } from "./clock.ts";
import { encodeText, messagePack } from "./codec.ts";
import { type CommitOptions, checkAnnotations, checkText } from "./commit-options.ts";
import { Histogram } from "./histogram.ts";
import type { RememberedCommit } from "./idempotency.ts";
import type { RecordPlace } from "./record-reader.ts";
import { RecordWriter } from "./record-writer.ts";
import type { State } from "./state.ts";
import { Transaction } from "./transaction.ts";

/** Proof of a durable commit. */
export interface Receipt<T> {
  /** Its place in the order of all commits. A transaction that changed nothing gets that of the state it saw. */
  lsn: bigint;
  /** Its time in microseconds since the Unix epoch; strictly increasing. */
  timeUs: bigint;
  /** What the callback returned; the same on an idempotent retry. */
  value: T;
}

/** Told of each record in commit order, once it is durable and in memory. */
export type Published = (record: LogRecord & RecordPlace) => void;

/** An asynchronous commit that was appended. */
interface Queued {
  readonly tx: Transaction;
  readonly value: unknown;
  readonly startMs: number;
  resolve(receipt: Receipt<unknown>): void;
  reject(error: unknown): void;
}

/** A synchronous commit starts a new page of the log. */
const PAGE_BYTES = 4096;
const RECORD_OVERHEAD_BYTES = 32;
/** Commits acknowledged in one turn of the event loop: what their callers do next belongs to the same turn. */
const ANSWERS_A_TURN = 64;
/** The log refuses at twice this, which must not happen: a refused record would leave a gap. */
const QUEUED_BYTES_MAX = WAL_QUEUE_BYTES_MAX / 2;

/**
 * The one path to the log. A commit runs its callback, appends the record, and once that is durable publishes it to
 * memory; commits become durable, visible and acknowledged in one order, whichever way they were made.
 */
export class Committer {
  /** Nanoseconds from call to receipt. */
  readonly commitNs = new Histogram();
  readonly commitAsyncNs = new Histogram();
  /** Records and roughly bytes appended since they were last set to 0. */
  logRecords = 0;
  logBytes = 0;
  readonly #state: State;
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #published: Published;
  readonly #writer: RecordWriter;
  readonly #record = { payload: new Uint8Array(0) as Uint8Array, timeUs: 0n };
  /** Appended and not acknowledged, in order; those before `#head` are. */
  #queued: Queued[] = [];
  #head = 0;
  #queuedBytes = 0;
  /** Highest LSN the log has called durable; those queued up to it are acknowledged a turn's worth at a time. */
  #durableLsn = 0;
  #answersLeft = ANSWERS_A_TURN;
  #nextLsn: number;
  #lastTimeUs: number;
  #running = false;
  #closed = false;
  #poisoned: unknown;
  readonly #inFlight = new Map<string, Promise<unknown>>();

  constructor(state: State, journal: Journal, clock: Clock, published: Published) {
    this.#state = state;
    this.#journal = journal;
    this.#clock = clock;
    this.#published = published;
    this.#writer = new RecordWriter(state.values);
    this.#nextLsn = state.lsn + 1;
    this.#lastTimeUs = state.timeUs;
  }

  get poisoned(): boolean {
    return this.#poisoned !== undefined;
  }

  get inFlight(): number {
    return this.#queued.length - this.#head;
  }

  commit<T>(fn: (tx: Transaction) => T, options?: CommitOptions): Receipt<T> {
    const startMs = performance.now();
    this.#checkReady();
    const remembered = options === undefined ? undefined : this.#prepare<T>(options);
    if (remembered !== undefined) return remembered;
    const tx = this.#begin("transaction", options);
    const value = this.#run(tx, fn);
    if (!this.#mustWrite(tx)) return this.#receipt(this.#state.lsn, this.#state.timeUs, value);
    this.#encode(tx, value);
    this.#appendSync(tx);
    this.commitNs.record((performance.now() - startMs) * 1e6);
    return this.#receipt(tx.lsn, tx.timeUs, value);
  }

  commitAsync<T>(fn: (tx: Transaction) => T, options?: CommitOptions): Promise<Receipt<T>> {
    const startMs = performance.now();
    try {
      this.#checkReady();
      if (this.inFlight >= COMMITS_IN_FLIGHT_MAX || this.#queuedBytes >= QUEUED_BYTES_MAX)
        throw tooManyInFlight();
      const key = options?.idempotencyKey;
      const running = key === undefined ? undefined : this.#inFlight.get(key);
      if (running !== undefined) return running as Promise<Receipt<T>>;
      const remembered = options === undefined ? undefined : this.#prepare<T>(options);
      if (remembered !== undefined) return Promise.resolve(remembered);
      const tx = this.#begin("transaction", options);
      const value = this.#run(tx, fn);
      if (!this.#mustWrite(tx)) {
        return Promise.resolve(this.#receipt(this.#state.lsn, this.#state.timeUs, value));
      }
      this.#encode(tx, value);
      const receipt = new Promise<Receipt<T>>((resolve, reject) => {
        this.#append({ tx, value, startMs, resolve: resolve as Queued["resolve"], reject });
      });
      if (key !== undefined) this.#track(key, receipt);
      return receipt;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Writes a cut record, synchronously and durably. */
  commitCut(name: string, body: Uint8Array, annotations?: Annotations): Receipt<undefined> {
    this.#checkReady();
    if (annotations !== undefined) checkAnnotations(annotations);
    checkText("cut name", name);
    if (body.byteLength > CUT_RECORD_BYTES_MAX) {
      throw new StoreError("ERR_LIMIT", `a cut of ${body.byteLength} bytes is over ${CUT_RECORD_BYTES_MAX}`);
    }
    const tx = this.#begin("cut", annotations);
    tx.cut = { name, body: Uint8Array.from(body) };
    tx.close();
    this.#appendSync(tx);
    return this.#receipt(tx.lsn, tx.timeUs, undefined);
  }

  /** Resolves when everything appended so far is durable and published. */
  async settled(): Promise<void> {
    while (this.inFlight > 0 && !this.poisoned) await new Promise((resolve) => setImmediate(resolve));
  }

  close(): void {
    this.#closed = true;
  }

  #begin(kind: RecordKind, options: CommitOptions | undefined): Transaction {
    const nowUs = this.#clock();
    const timeUs = nowUs > this.#lastTimeUs ? nowUs : this.#lastTimeUs + 1;
    this.#writer.begin(kind);
    const tx = new Transaction(this.#state, this.#writer, this.#nextLsn, timeUs, kind);
    if (options !== undefined) {
      const { actor, reason, basedOn, idempotencyKey } = options;
      if (actor !== undefined || reason !== undefined || basedOn !== undefined) tx.annotations = options;
      tx.idempotencyKey = idempotencyKey;
    }
    return tx;
  }

  /** Runs the callback; whatever goes wrong, nothing of it stays. */
  #run<T>(tx: Transaction, fn: (tx: Transaction) => T): T {
    this.#running = true;
    try {
      const value = fn(tx);
      if (isThenable(value)) {
        value.then(undefined, () => {});
        throw new StoreError("ERR_INVALID_ARGUMENT", "the callback of a commit returned a promise", {
          hint: "A transaction is synchronous: await what it needs before the commit. Nothing was changed.",
        });
      }
      tx.close();
      return value;
    } catch (error) {
      tx.rollback();
      if (error instanceof InvariantError) this.#poisoned = error;
      throw error;
    } finally {
      this.#running = false;
    }
  }

  /** What saw queued writes must wait for them, even if it changed nothing itself. */
  #mustWrite(tx: Transaction): boolean {
    return tx.changes.length > 0 || tx.idempotencyKey !== undefined || this.inFlight > 0;
  }

  #encode(tx: Transaction, value: unknown): void {
    if (tx.idempotencyKey === undefined) return;
    try {
      tx.valueBytes = encodeText(value);
    } catch (error) {
      tx.rollback();
      throw error;
    }
  }

  #finish(tx: Transaction): void {
    try {
      this.#record.payload = this.#writer.finish(tx);
    } catch (error) {
      tx.rollback();
      throw error;
    }
    this.#record.timeUs = BigInt(tx.timeUs);
    this.#writer.place(tx);
  }

  #appendSync(tx: Transaction): void {
    this.#finish(tx);
    let lsn: bigint;
    try {
      lsn = this.#journal.appendSync(this.#record).lsn;
    } catch (error) {
      tx.rollback();
      throw this.#poison(error);
    }
    this.#appended(tx, Math.ceil((this.#record.payload.byteLength + 128) / PAGE_BYTES) * PAGE_BYTES);
    this.#checkLsn(tx, lsn);
    // Records become durable in order: whatever was queued before is durable too.
    this.#publishThrough(tx.lsn - 1);
    this.#publish(tx);
  }

  #append(queued: Queued): void {
    const { tx } = queued;
    this.#finish(tx);
    try {
      this.#journal.enqueue(this.#record, this.#waiter);
    } catch (error) {
      tx.rollback();
      throw this.#poison(error);
    }
    const sizeBytes = this.#record.payload.byteLength;
    this.#appended(tx, sizeBytes + RECORD_OVERHEAD_BYTES);
    this.#queued.push(queued);
    this.#queuedBytes += sizeBytes;
  }

  /** The log tells it of each queued record in turn. */
  readonly #waiter: Waiter = {
    resolve: (lsn) => {
      this.#durableLsn = lsn + this.#state.logBase;
      this.#checkQueued(this.#durableLsn);
      this.#acknowledge();
    },
    reject: (error) => {
      // What became durable before it is acknowledged first.
      this.#publishThrough(this.#durableLsn);
      this.#poisoned ??= error;
      this.#next()?.reject(error);
    },
  };

  /** Acknowledges durable commits, no more than a turn of the event loop takes well. */
  #acknowledge(): void {
    while (this.#answersLeft > 0 && this.#head < this.#queued.length) {
      const lsn = this.#queued[this.#head]!.tx.lsn;
      if (lsn > this.#durableLsn) return;
      if (this.#answersLeft-- === ANSWERS_A_TURN) setImmediate(this.#acknowledgeMore);
      this.#publishThrough(lsn);
    }
  }

  readonly #acknowledgeMore = (): void => {
    this.#answersLeft = ANSWERS_A_TURN;
    this.#acknowledge();
  };

  #appended(tx: Transaction, sizeBytes: number): void {
    this.#writer.keep();
    this.#nextLsn = tx.lsn + 1;
    this.#lastTimeUs = tx.timeUs;
    this.logRecords++;
    this.logBytes += sizeBytes;
  }

  #checkLsn(tx: Transaction, lsn: bigint): void {
    try {
      invariant(Number(lsn) + this.#state.logBase === tx.lsn, `record ${tx.lsn} was appended as LSN ${lsn}`);
    } catch (error) {
      this.#poisoned = error;
      throw error;
    }
  }

  /** The queue's LSNs have no gap: a synchronous commit empties it first. */
  #checkQueued(lsn: number): void {
    const first = this.#queued[this.#head]?.tx.lsn ?? lsn + 1;
    if (lsn < first || this.#queued[this.#head + lsn - first]?.tx.lsn === lsn) return;
    this.#poisoned ??= new InvariantError(`no commit waits for LSN ${lsn}`);
  }

  /** Publishes and acknowledges what is queued up to an LSN. */
  #publishThrough(lsn: number): void {
    while (this.#head < this.#queued.length && this.#queued[this.#head]!.tx.lsn <= lsn) {
      const { tx, value, startMs, resolve, reject } = this.#next()!;
      try {
        if (this.#poisoned !== undefined) throw this.#poisoned;
        this.#publish(tx);
      } catch (error) {
        reject(error);
        continue;
      }
      this.commitAsyncNs.record((performance.now() - startMs) * 1e6);
      resolve(this.#receipt(tx.lsn, tx.timeUs, value));
    }
  }

  /** Takes the first of the queue. */
  #next(): Queued | undefined {
    const queued = this.#queued[this.#head];
    if (queued === undefined) return undefined;
    this.#queuedBytes -= queued.tx.end - queued.tx.offset;
    this.#head++;
    if (this.#head === this.#queued.length) {
      this.#queued.length = 0;
      this.#head = 0;
    } else if (this.#head > 4096) {
      this.#queued = this.#queued.slice(this.#head);
      this.#head = 0;
    }
    return queued;
  }

  #publish(tx: Transaction): void {
    this.#state.values.written(tx.changes, tx.end - tx.offset);
    this.#state.apply(tx);
    tx.uncover();
    try {
      this.#published(tx);
    } catch (error) {
      // Durable, but what must follow before it is acknowledged has failed.
      this.#poisoned ??= error;
      throw error;
    }
  }

  #poison(error: unknown): unknown {
    // A record that is too large for the log was refused before anything was written.
    if (isStoreError(error, "ERR_LIMIT") || isStoreError(error, "ERR_INVALID_ARGUMENT")) return error;
    this.#publishThrough(this.#durableLsn);
    this.#poisoned ??= error;
    return error;
  }

  /** Checks the options; a remembered commit's receipt if its key has been used. */
  #prepare<T>(options: CommitOptions): Receipt<T> | undefined {
    checkAnnotations(options);
    const key = options.idempotencyKey;
    if (key === undefined) return undefined;
    checkText("idempotency key", key);
    let found = this.#state.idempotency.find(key, this.#clock());
    if (found === undefined && this.#inFlight.has(key)) {
      // The first attempt is queued: an empty record behind it waits for it.
      const barrier = this.#begin("transaction", undefined);
      barrier.close();
      this.#appendSync(barrier);
      found = this.#state.idempotency.find(key, this.#clock());
    }
    return found === undefined ? undefined : rememberedReceipt<T>(found);
  }

  #track(key: string, receipt: Promise<unknown>): void {
    this.#inFlight.set(key, receipt);
    const forget = () => this.#inFlight.delete(key);
    receipt.then(forget, forget);
  }

  #receipt<T>(lsn: number, timeUs: number, value: T): Receipt<T> {
    return { lsn: BigInt(lsn), timeUs: BigInt(timeUs), value };
  }

  #checkReady(): void {
    if (this.#running) {
      throw new StoreError("ERR_INVALID_ARGUMENT", "a commit was begun inside the callback of another", {
        hint: "Do it all in one transaction, or commit after the first has returned.",
      });
    }
    if (this.#closed) throw new StoreError("ERR_CLOSED", "the critical partition is closed");
    if (this.#poisoned === undefined) return;
    throw new StoreError("ERR_POISONED", "an earlier write failed, so nothing more is acknowledged", {
      cause: this.#poisoned,
      hint: "Open the store again: recovery finds exactly what is durable.",
    });
  }
}

function rememberedReceipt<T>({ lsn, timeUs, valueBytes }: RememberedCommit): Receipt<T> {
  const bytes = Buffer.from(valueBytes, "latin1");
  const value = messagePack.decode(bytes, bytes.byteLength) as T;
  return { lsn: BigInt(lsn), timeUs: BigInt(timeUs), value };
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function"
  );
}

function tooManyInFlight(): StoreError {
  return new StoreError("ERR_LIMIT", "too many commits are waiting for the disk", {
    retryable: true,
    context: { limit: COMMITS_IN_FLIGHT_MAX, limitBytes: QUEUED_BYTES_MAX },
    hint: "Await some of them before committing more.",
  });
}
