import { allocatePages } from "../disk/aligned.ts";
import { StoreError } from "../errors.ts";
import { WAL_QUEUE_BYTES_MAX } from "../limits.ts";
import { BLOCK_BYTES, type BlockKind } from "./format.ts";
import type { JournalWrite, Waiter } from "./journal.ts";
import { type Chain, Group } from "./writer.ts";

/** One write: the blocks it puts on the disk, who waits for it, and where the log stands once it is durable. */
export interface GatheredWrite {
  kind: BlockKind;
  bytes: Uint8Array;
  /** Index of the buffer the bytes begin. */
  buffer: number;
  sequence: number;
  /** LSN of its first record, and how many it has. */
  firstLsn: number;
  records: number;
  /** What its blocks say is still needed of the log. */
  logStart: number;
  /** In the order of the records; `undefined` for one whose caller waits on the spot. */
  waiters: (Waiter | undefined)[];
  startedMs: number;
}

interface Queued {
  record: JournalWrite;
  waiter: Waiter;
}

/** One is filled while two are on their way to the disk. */
const BUFFERS = 3;

/**
 * Gathers records for the next write while those before are on their way: buffers that change places, and a bounded
 * queue behind them.
 */
export class Gathering {
  readonly groups: readonly Group[];
  #pending: Group;
  /** Which of the groups that is. */
  #buffer = 0;
  #waiters: (Waiter | undefined)[] = [];
  #queue: Queued[] = [];
  #queueBytes = 0;

  constructor(blocks: number, storeId: Uint8Array) {
    // In one memory: each takes gigabytes of addresses, whatever its size.
    const sizeBytes = blocks * BLOCK_BYTES;
    const memory = allocatePages(BUFFERS * sizeBytes, { shared: true });
    const bufferAt = (index: number) => memory.subarray(index * sizeBytes, (index + 1) * sizeBytes);
    this.groups = Array.from({ length: BUFFERS }, (_, index) => new Group(bufferAt(index), storeId));
    this.#pending = this.groups[0]!;
  }

  /** Records of the next write. */
  get records(): number {
    return this.#pending.records;
  }

  get blockCount(): number {
    return this.#pending.blockCount;
  }

  /** Records that did not fit the next write. */
  get queued(): number {
    return this.#queue.length;
  }

  /** Adds a record whose caller waits on the spot; `false` when the next write is full. */
  addSync(record: JournalWrite): boolean {
    if (this.#queue.length > 0 || !this.#pending.append(record)) return false;
    if (this.#waiters.length > 0) this.#waiters.push(undefined);
    return true;
  }

  /** Adds a record for the next write or the queue behind it. `ERR_LIMIT` when the queue is full. */
  add(record: JournalWrite, waiter: Waiter): void {
    if (this.#queue.length === 0 && this.#pending.append(record)) {
      this.#note(waiter);
      return;
    }
    const size = record.end - record.offset;
    if (this.#queueBytes + size > WAL_QUEUE_BYTES_MAX) {
      throw new StoreError("ERR_LIMIT", `over ${WAL_QUEUE_BYTES_MAX} bytes wait for the disk already`, {
        context: { limit: WAL_QUEUE_BYTES_MAX },
        retryable: true,
        hint: "Await earlier commits before sending more.",
      });
    }
    this.#queueBytes += size;
    const { buffer, offset, end, timeUs } = record;
    this.#queue.push({ record: { buffer: buffer.slice(offset, end), offset: 0, end: size, timeUs }, waiter });
  }

  /**
   * Seals the gathered records into blocks of the chain, ready to be written, and begins the next write. Its buffer
   * must be free: two writes at a time are on their way, this one included, and they end in their order.
   */
  take(chain: Chain, kind: BlockKind = "data"): GatheredWrite {
    const group = this.#pending;
    const buffer = this.#buffer;
    const { nextSequence: sequence, nextLsn: firstLsn, logStart } = chain;
    const records = group.records;
    const bytes = group.seal(chain, kind);
    const waiters = this.#waiters;
    if (waiters.length > 0) this.#waiters = [];
    this.#buffer = (buffer + 1) % BUFFERS;
    this.#pending = this.groups[this.#buffer]!;
    this.#pending.reset();
    if (this.#queue.length > 0) this.#refill();
    return {
      kind,
      bytes,
      buffer,
      sequence,
      firstLsn,
      records,
      logStart,
      waiters,
      startedMs: performance.now(),
    };
  }

  /** Gives up the next write (not the queue); returns who waited for it. */
  discard(): (Waiter | undefined)[] {
    const waiters = this.#waiters;
    this.#waiters = [];
    this.#pending.reset();
    this.#refill();
    return waiters;
  }

  #refill(): void {
    let taken = 0;
    for (const { record, waiter } of this.#queue) {
      if (!this.#pending.append(record)) break;
      this.#note(waiter);
      this.#queueBytes -= record.end;
      taken++;
    }
    this.#queue = this.#queue.slice(taken);
  }

  /** Records that came on the spot before this one have no waiter: fill up to it. */
  #note(waiter: Waiter): void {
    while (this.#waiters.length < this.#pending.records - 1) this.#waiters.push(undefined);
    this.#waiters.push(waiter);
  }
}
