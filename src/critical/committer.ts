import { invariant } from "../assert.ts";
import { InvariantError, isStoreError, StoreError } from "../errors.ts";
import { Histogram } from "../histogram.ts";
import { COMMITS_IN_FLIGHT_MAX, CUT_RECORD_BYTES_MAX, WAL_QUEUE_BYTES_MAX } from "../limits.ts";
import type { Journal, Waiter } from "../wal/journal.ts";
import type { Annotations, RecordKind } from "./change.ts";
import type { Clock } from "./clock.ts";
import { encodeText, messagePack } from "./codec.ts";
import { type CommitOptions, checkAnnotations, checkText } from "./commit-options.ts";
import type { Draft } from "./draft.ts";
import { DraftQueue } from "./draft-queue.ts";
import { Drafts } from "./drafts.ts";
import type { RememberedCommit } from "./idempotency.ts";
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

/** Who follows the commits, told of each in their order. */
export interface Followers {
  /** It is durable and in memory, and is acknowledged when this returns. */
  acknowledging(record: Draft): void;
  /** The same a little later, in a turn of its own. */
  keep(record: Draft): void;
}

/** A synchronous commit starts a new page of the log. */
const PAGE_BYTES = 4096;
const RECORD_OVERHEAD_BYTES = 32;
/** Commits acknowledged in one turn of the event loop: what their callers do next belongs to the same turn. */
const ANSWERS_A_TURN = 64;
/** Commits that wait to be kept while synchronous ones leave the event loop no turn. */
const LATE_MAX = 16;
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
  readonly #followers: Followers;
  readonly #writer: RecordWriter;
  /** Appended and not acknowledged, in order. */
  readonly #queued = new DraftQueue();
  #queuedBytes = 0;
  /** Highest LSN the log has called durable; those queued up to it are acknowledged a turn's worth at a time. */
  #durableLsn = 0;
  #answersLeft = ANSWERS_A_TURN;
  #nextLsn: number;
  #lastTimeUs: number;
  #running = false;
  #closed = false;
  #poisoned: unknown;
  readonly #drafts: Drafts;
  readonly #inFlight = new Map<string, Promise<unknown>>();

  constructor(state: State, journal: Journal, clock: Clock, followers: Followers) {
    this.#state = state;
    this.#journal = journal;
    this.#clock = clock;
    this.#followers = followers;
    this.#writer = new RecordWriter(state.values);
    this.#drafts = new Drafts(state, this.#writer, (draft) => this.#keep(draft));
    this.#nextLsn = state.lsn + 1;
    this.#lastTimeUs = state.timeUs;
  }

  get poisoned(): boolean {
    return this.#poisoned !== undefined;
  }

  get inFlight(): number {
    return this.#queued.length;
  }

  commit<T>(fn: (tx: Transaction) => T, options?: CommitOptions): Receipt<T> {
    const startMs = performance.now();
    this.#checkReady();
    const remembered = options === undefined ? undefined : this.#prepare<T>(options);
    if (remembered !== undefined) return remembered;
    const draft = this.#begin("transaction", startMs, options);
    const value = this.#run(draft, fn);
    if (!this.#mustWrite(draft)) return this.#unwritten(draft, value);
    this.#encode(draft, value);
    this.#appendSync(draft);
    this.commitNs.record((performance.now() - startMs) * 1e6);
    return { lsn: BigInt(draft.lsn), timeUs: BigInt(draft.timeUs), value };
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
      const draft = this.#begin("transaction", startMs, options);
      draft.value = this.#run(draft, fn);
      if (!this.#mustWrite(draft)) return Promise.resolve(this.#unwritten(draft, draft.value as T));
      this.#encode(draft, draft.value);
      this.#append(draft);
      this.#waiting = draft;
      const receipt = new Promise<Receipt<T>>(this.#capture);
      if (key !== undefined) this.#track(key, receipt);
      return receipt;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Whose promise is made next: one function captures all of them. */
  #waiting: Draft | undefined;
  readonly #capture = (resolve: (receipt: never) => void, reject: Draft["reject"]): void => {
    const draft = this.#waiting!;
    draft.resolve = resolve as Draft["resolve"];
    draft.reject = reject;
  };

  /** Writes a cut record, synchronously and durably. */
  commitCut(name: string, body: Uint8Array, annotations?: Annotations): Receipt<undefined> {
    this.#checkReady();
    if (annotations !== undefined) checkAnnotations(annotations);
    checkText("cut name", name);
    if (body.byteLength > CUT_RECORD_BYTES_MAX) {
      throw new StoreError("ERR_LIMIT", `a cut of ${body.byteLength} bytes is over ${CUT_RECORD_BYTES_MAX}`);
    }
    const draft = this.#begin("cut", performance.now(), annotations);
    draft.cut = { name, body: Uint8Array.from(body) };
    this.#appendSync(draft);
    return { lsn: BigInt(draft.lsn), timeUs: BigInt(draft.timeUs), value: undefined };
  }

  /** Resolves when everything appended so far is durable and published. */
  async settled(): Promise<void> {
    while (this.inFlight > 0 && !this.poisoned) await new Promise((resolve) => setImmediate(resolve));
  }

  close(): void {
    this.#closed = true;
  }

  #begin(kind: RecordKind, nowMs: number, options: CommitOptions | undefined): Draft {
    const nowUs = this.#clock(nowMs);
    const draft = this.#drafts.take();
    draft.begin(kind, this.#nextLsn, nowUs > this.#lastTimeUs ? nowUs : this.#lastTimeUs + 1);
    draft.startMs = nowMs;
    this.#writer.begin(kind, draft.lsn);
    if (options !== undefined) {
      const { actor, reason, basedOn, idempotencyKey } = options;
      if (actor !== undefined || reason !== undefined || basedOn !== undefined) draft.annotations = options;
      draft.idempotencyKey = idempotencyKey;
    }
    return draft;
  }

  /** Runs the callback; whatever goes wrong, nothing of it stays. */
  #run<T>(draft: Draft, fn: (tx: Transaction) => T): T {
    const tx = new Transaction(this.#state, this.#writer, draft);
    this.#running = true;
    try {
      const value = fn(tx);
      if (isThenable(value)) {
        value.then(undefined, () => {});
        throw new StoreError("ERR_INVALID_ARGUMENT", "the callback of a commit returned a promise", {
          hint: "A transaction is synchronous: await what it needs before the commit. Nothing was changed.",
        });
      }
      draft.check();
      return value;
    } catch (error) {
      this.#drafts.takeBack(draft);
      if (error instanceof InvariantError) this.#poisoned = error;
      throw error;
    } finally {
      tx.end();
      this.#running = false;
    }
  }

  /** The receipt of a transaction that changed nothing and waits for nobody. */
  #unwritten<T>(draft: Draft, value: T): Receipt<T> {
    this.#drafts.giveBack(draft);
    return { lsn: BigInt(this.#state.lsn), timeUs: BigInt(this.#state.timeUs), value };
  }

  /** What saw queued writes must wait for them, even if it changed nothing itself. */
  #mustWrite(draft: Draft): boolean {
    return draft.changes.length > 0 || draft.idempotencyKey !== undefined || this.inFlight > 0;
  }

  #encode(draft: Draft, value: unknown): void {
    if (draft.idempotencyKey === undefined) return;
    try {
      draft.valueBytes = encodeText(value);
    } catch (error) {
      this.#drafts.takeBack(draft);
      throw error;
    }
  }

  /** Ends the record: it is ready for the log. */
  #finish(draft: Draft): void {
    try {
      this.#writer.finish(draft);
    } catch (error) {
      this.#drafts.takeBack(draft);
      throw error;
    }
  }

  #appendSync(draft: Draft): void {
    this.#finish(draft);
    let lsn: bigint;
    try {
      lsn = this.#journal.appendSync(draft).lsn;
    } catch (error) {
      this.#drafts.takeBack(draft);
      throw this.#poison(error);
    }
    this.#appended(draft, Math.ceil((draft.end - draft.offset + 128) / PAGE_BYTES) * PAGE_BYTES);
    this.#checkLsn(draft, lsn);
    // Records become durable in order: whatever was queued before is durable too.
    this.#publishThrough(draft.lsn - 1);
    this.#publish(draft);
    if (this.#drafts.late >= LATE_MAX) this.keepLate();
  }

  #append(draft: Draft): void {
    this.#finish(draft);
    try {
      this.#journal.enqueue(draft, this.#waiter);
    } catch (error) {
      this.#drafts.takeBack(draft);
      throw this.#poison(error);
    }
    const sizeBytes = draft.end - draft.offset;
    this.#appended(draft, sizeBytes + RECORD_OVERHEAD_BYTES);
    this.#queued.push(draft);
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
    const first = this.#queued.first?.lsn ?? 0;
    const count = Math.min(this.#queued.length, this.#answersLeft, this.#durableLsn - first + 1);
    if (count <= 0) return;
    if (this.#answersLeft === ANSWERS_A_TURN) setImmediate(this.#acknowledgeMore);
    this.#answersLeft -= count;
    this.#publishThrough(first + count - 1);
  }

  readonly #acknowledgeMore = (): void => {
    this.#answersLeft = ANSWERS_A_TURN;
    this.#acknowledge();
  };

  #appended(draft: Draft, sizeBytes: number): void {
    this.#writer.keep();
    this.#nextLsn = draft.lsn + 1;
    this.#lastTimeUs = draft.timeUs;
    this.logRecords++;
    this.logBytes += sizeBytes;
  }

  #checkLsn(draft: Draft, lsn: bigint): void {
    try {
      invariant(
        Number(lsn) + this.#state.logBase === draft.lsn,
        `record ${draft.lsn} was appended as LSN ${lsn}`,
      );
    } catch (error) {
      this.#poisoned = error;
      throw error;
    }
  }

  /** The queue's LSNs have no gap: a synchronous commit empties it first. */
  #checkQueued(lsn: number): void {
    const first = this.#queued.first?.lsn ?? lsn + 1;
    if (lsn < first || this.#queued.at(lsn - first)?.lsn === lsn) return;
    this.#poisoned ??= new InvariantError(`no commit waits for LSN ${lsn}`);
  }

  /** Publishes and acknowledges what is queued up to an LSN. */
  #publishThrough(lsn: number): void {
    const nowMs = performance.now();
    for (
      let first = this.#queued.first;
      first !== undefined && first.lsn <= lsn;
      first = this.#queued.first
    ) {
      const draft = this.#next()!;
      const { value, startMs, resolve, reject } = draft;
      try {
        if (this.#poisoned !== undefined) throw this.#poisoned;
        this.#publish(draft);
      } catch (error) {
        reject(error);
        continue;
      }
      this.commitAsyncNs.record((nowMs - startMs) * 1e6);
      resolve({ lsn: BigInt(draft.lsn), timeUs: BigInt(draft.timeUs), value });
    }
  }

  /** Takes the first of the queue. */
  #next(): Draft | undefined {
    const draft = this.#queued.shift();
    if (draft !== undefined) this.#queuedBytes -= draft.end - draft.offset;
    return draft;
  }

  #publish(draft: Draft): void {
    this.#state.values.written(draft.changes, draft.end - draft.offset, draft.lsn);
    this.#state.apply(draft);
    draft.uncover();
    try {
      this.#followers.acknowledging(draft);
    } catch (error) {
      // Durable, but what must follow before it is acknowledged has failed.
      this.#poisoned ??= error;
      throw error;
    } finally {
      this.#drafts.keepSoon(draft);
    }
  }

  /** Has everything kept that is acknowledged. */
  keepLate(): void {
    this.#drafts.keepLate();
  }

  #keep(draft: Draft): void {
    try {
      this.#followers.keep(draft);
    } catch (error) {
      this.#poisoned ??= error;
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
      const barrier = this.#begin("transaction", performance.now(), undefined);
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
