import { invariant } from "../assert.ts";
import type { DiskFile } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import type { RecoveryKernel } from "../kernels/recovery-kernel.ts";
import { WAL_RECORD_BYTES_MAX } from "../limits.ts";
import { createInlineCarrier, type WriteCarrier, type WriteOutcome, writeToAll } from "./carrier.ts";
import {
  BLOCK_BYTES,
  type BlockKind,
  FLAG_MIRROR_DROPPED,
  PAYLOAD_BYTES,
  RECORD_HEADER_BYTES,
} from "./format.ts";
import { type GatheredWrite, Gathering } from "./gathering.ts";
import {
  type Appended,
  type Journal,
  type JournalEntry,
  type JournalRecord,
  type JournalWrite,
  type RecordVisitor,
  type Waiter,
  writeOf,
} from "./journal.ts";
import { mirrorLost, noSegment, poisonedBy, tooLarge } from "./log-errors.ts";
import { writeOpenBlock } from "./open-block.ts";
import type { LogOptions, LogStats, OpenReport } from "./options.ts";
import { readEntries, scanEntries } from "./read-log.ts";
import { placeRecords, type RecordPlaces, type RecoveredLog } from "./record-places.ts";
import { SegmentKeeper } from "./segment-keeper.ts";
import type { Segments } from "./segments.ts";
import { createThreadCarrier } from "./thread-carrier.ts";
import { WriteCounts } from "./write-counts.ts";
import { blocksFor, type Chain } from "./writer.ts";

const SEAL_AFTER_MS = 1000;
/** A write of so many records or more is followed by two halves: of fewer, the wakings cost more than is hidden. */
const SPLIT_RECORDS_MIN = 48;
/** So many records are handed on behind the write on its way; fewer wait for more until that has ended. */
const BEHIND_RECORDS_MIN = 16;

/** What `openLog` has made ready. */
export interface LogParts {
  options: LogOptions;
  /** Of the log, and of its mirror. */
  locks: DiskFile[];
  copies: Segments[];
  chain: Chain;
  firstLsns: Map<number, number>;
  report: OpenReport;
  /** Blocks as recovery found them. */
  recovered: RecoveredLog | undefined;
}

/**
 * The journal on a local disk. `appendSync` writes on the caller's thread, after it has ended the writes on their way, if
 * there are any; `append` gathers records and hands them on together to the log worker, which may have one write on its
 * way and one behind it, to begin when the first is durable.
 *
 * After a write or sync failed nothing is acknowledged any more: every call ends in `ERR_POISONED` until the log is
 * opened again.
 */
export class WriteAheadLog implements Journal {
  /** Payload bytes one record may have here. */
  readonly recordBytesMax: number;
  readonly #options: LogOptions;
  readonly #locks: readonly DiskFile[];
  readonly #chain: Chain;
  readonly #report: OpenReport;
  readonly #gathering: Gathering;
  readonly #keeper: SegmentKeeper;
  #copies: Segments[];
  /** For the first placing, which is what replays the log. */
  #recovered: RecoveredLog | undefined;
  #durableLsn: number;
  /** The writes on their way, oldest first. */
  readonly #inFlight: GatheredWrite[] = [];
  #carrier: WriteCarrier | undefined;
  #isFlushScheduled = false;
  /** So many gathered records do not wait for those that are still to come in this turn. */
  #startAt = Number.POSITIVE_INFINITY;
  #poison: StoreError | undefined;
  #isClosed = false;
  #isSealed = true;
  #sealTimer: NodeJS.Timeout | undefined;
  readonly #counts = new WriteCounts();

  constructor(parts: LogParts) {
    const { options, chain } = parts;
    this.#options = options;
    this.#locks = parts.locks;
    this.#copies = parts.copies;
    this.#chain = chain;
    this.#report = parts.report;
    this.#recovered = parts.recovered;
    this.#durableLsn = chain.nextLsn - 1;
    const blocks = Math.min(blocksFor(WAL_RECORD_BYTES_MAX + RECORD_HEADER_BYTES), chain.segmentBlocks - 1);
    this.recordBytesMax = Math.min(WAL_RECORD_BYTES_MAX, blocks * PAYLOAD_BYTES - RECORD_HEADER_BYTES);
    this.#gathering = new Gathering(blocks, chain.storeId);
    this.#keeper = new SegmentKeeper(parts.copies, chain, parts.firstLsns, (warning) => this.#warn(warning));
  }

  get durableLsn(): bigint {
    return BigInt(this.#durableLsn);
  }

  /** LSN of the first record that can still be read; one past `durableLsn` when there is none. */
  get firstLsn(): bigint {
    return BigInt(this.#keeper.firstLsn);
  }

  appendSync(given: JournalWrite | JournalRecord): Appended {
    const record = "payload" in given ? writeOf(given) : given;
    this.#checkUsable(record.end - record.offset);
    this.#finishInFlight();
    while (!this.#gathering.addSync(record)) this.#writeGathered();
    this.#writeGathered();
    return { lsn: BigInt(this.#durableLsn) };
  }

  enqueue(record: JournalWrite, waiter: Waiter): void {
    this.#checkUsable(record.end - record.offset);
    this.#gathering.add(record, waiter);
    if (this.#inFlight.length > 0) {
      if (this.#gathering.records === BEHIND_RECORDS_MIN) setImmediate(this.#startBehind);
    } else if (this.#gathering.records < this.#startAt) this.#flushSoon();
    else {
      this.#startAt = Number.POSITIVE_INFINITY;
      this.#startGathered();
    }
  }

  /** The same as a promise. */
  append(record: JournalRecord): Promise<Appended> {
    return new Promise((resolve, reject) => {
      this.enqueue(writeOf(record), { resolve: (lsn) => resolve({ lsn: BigInt(lsn) }), reject });
    });
  }

  *read(lsn: bigint): Generator<JournalEntry> {
    yield* readEntries(this.#copies, this.#chain, this.#rangeFrom(lsn));
  }

  scan(lsn: bigint, visit: RecordVisitor): void {
    scanEntries(this.#copies, this.#chain, this.#rangeFrom(lsn), visit);
  }

  place(lsn: bigint, kernel: RecoveryKernel): RecordPlaces | undefined {
    const recovered = this.#recovered;
    this.#recovered = undefined;
    const { start } = this.#rangeFrom(lsn);
    if (recovered?.kernel !== kernel) return undefined;
    const count = this.#durableLsn + 1 - Number(lsn);
    return placeRecords(recovered, { fromSequence: start, fromLsn: Number(lsn), count });
  }

  #rangeFrom(lsn: bigint): { start: number; through: number; lsn: bigint } {
    this.#checkOpen();
    if (lsn < this.firstLsn) {
      throw new StoreError(
        "ERR_NOT_FOUND",
        `log record ${lsn} was trimmed; the log begins at ${this.firstLsn}`,
        {
          context: { lsn, firstLsn: this.firstLsn },
        },
      );
    }
    return { start: this.#keeper.startOf(lsn), through: this.#chain.durableThrough, lsn };
  }

  /** The space is reused once a durable block says that it is not needed: with the next write, or the seal. */
  trim(lsn: bigint): void {
    this.#checkOpen();
    if (!this.#keeper.trim(lsn)) return;
    this.#isSealed = false;
    this.#armSeal();
  }

  stats(): LogStats {
    const { mirror } = this.#options;
    return {
      durability: this.#copies[0]!.durability,
      epoch: this.#chain.epoch,
      firstLsn: this.firstLsn,
      durableLsn: this.durableLsn,
      segmentBytes: this.#chain.segmentBlocks * BLOCK_BYTES,
      segments: this.#copies[0]!.ordinals.length,
      mirror: mirror === undefined ? "none" : this.#copies.length > 1 ? "in step" : "dropped",
      ...this.#counts.stats(),
      open: this.#report,
    };
  }

  /** Writes what is waiting, seals the last write and lets go of the lock. After a poisoning it only lets go. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#sealTimer);
    try {
      this.#finishInFlight();
      while (this.#poison === undefined && this.#gathering.records > 0) this.#writeGathered();
      if (this.#poison === undefined && !this.#isSealed) this.#sealAtClose();
    } finally {
      await this.#carrier?.close();
      await this.#keeper.idle();
      for (const copy of this.#copies) copy.close();
      for (const lock of this.#locks) lock.close();
    }
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new StoreError("ERR_CLOSED", "the log is closed");
  }

  #checkUsable(size: number): void {
    this.#checkOpen();
    if (this.#poison !== undefined) throw this.#poison;
    if (size <= this.recordBytesMax) return;
    throw tooLarge(size, this.recordBytesMax);
  }

  /** In a microtask, so that whoever was just answered can join with the next record. */
  #flushSoon(): void {
    if (this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    queueMicrotask(() => {
      this.#isFlushScheduled = false;
      if (this.#inFlight.length === 0 && this.#gathering.records > 0) this.#startGathered();
    });
  }

  /** Hands the gathered records to the carrier. */
  #startGathered(kind: BlockKind = "data"): void {
    if (this.#poison !== undefined || this.#isClosed) return;
    if (!this.#keeper.isReady(this.#gathering.blockCount)) {
      // The end of a write on its way goes on with what has gathered.
      if (this.#inFlight.length === 0) void this.#keeper.prepare().then(() => this.#startPrepared());
      return;
    }
    this.#carrier ??= this.#createCarrier();
    const write = this.#take(kind);
    this.#inFlight.push(write);
    this.#carrier.start(write, this.#carried);
  }

  #take(kind: BlockKind): GatheredWrite {
    const write = this.#gathering.take(this.#chain, kind);
    this.#keeper.placed();
    return write;
  }

  /**
   * What those who were answered have made meanwhile lies ready when the disk is free. Not with a mirror: how a write
   * went there must be known before the next is made, since a note that it was dropped may have to come between.
   */
  readonly #startBehind = (): void => {
    if (this.#inFlight.length !== 1 || this.#copies.length > 1) return;
    if (this.#gathering.records >= BEHIND_RECORDS_MIN) this.#startGathered();
  };

  /** Segments have been prepared for the gathered records, or that failed. */
  #startPrepared(): void {
    if (this.#inFlight.length > 0 || this.#poison !== undefined || this.#isClosed) return;
    try {
      this.#makeReady(this.#gathering.blockCount);
      this.#flushSoon();
    } catch (error) {
      this.#refuseGathered(error);
    }
  }

  /** On the caller's thread, while no write is on its way. A mirror that has no place for the blocks has failed. */
  #makeReady(blocks: number): void {
    if (this.#keeper.isReady(blocks)) return;
    const mirrorFailed = this.#keeper.makeReady(blocks);
    if (mirrorFailed === undefined) return;
    this.#dropMirror(mirrorFailed, []);
    if (this.#poison !== undefined) throw this.#poison;
    // The note of it took a block.
    this.#keeper.makeReady(blocks);
  }

  /** The disk gets what has gathered before the callers of this group get their answers. */
  readonly #carried = (outcome: WriteOutcome): void => {
    const write = this.#inFlight.shift();
    if (write === undefined) return; // Refused with the one before it.
    this.#settle(write, outcome);
    if (this.#inFlight.length > 0) this.#startBehind();
    else if (this.#gathering.records > 0) this.#startGathered();
    else this.#splitNext(write.records);
    this.#answer(write);
  };

  /**
   * Everybody waited for the same write. What half of them make of their answers goes to the disk while the other half
   * is still at it, and from then on the halves take turns, so that neither the disk nor the callers wait for long.
   */
  #splitNext(records: number): void {
    if (records < SPLIT_RECORDS_MIN) return;
    this.#startAt = records >> 1;
    setImmediate(() => {
      this.#startAt = Number.POSITIVE_INFINITY;
    });
  }

  #createCarrier(): WriteCarrier {
    const { disk, durable } = this.#options;
    if (disk.kind !== "real") return createInlineCarrier(() => this.#copies);
    const create = this.#options.createCarrier ?? createThreadCarrier;
    return create({
      disk,
      directories: this.#copies.map((copy) => copy.directory),
      segmentBlocks: this.#chain.segmentBlocks,
      durable,
      buffers: this.#gathering.groups.map((group) => group.memory),
    });
  }

  /** Ends the writes on their way from the caller's thread. */
  #finishInFlight(): void {
    for (let write = this.#inFlight[0]; write !== undefined; write = this.#inFlight[0]) {
      const outcome = this.#carrier!.finish();
      this.#inFlight.shift();
      this.#completed(write, outcome === "taken-back" ? this.#write(write) : outcome);
      if (this.#poison !== undefined) throw this.#poison;
    }
  }

  /** Writes the gathered records on the caller's thread; throws when that failed. */
  #writeGathered(kind: BlockKind = "data"): void {
    try {
      this.#makeReady(this.#gathering.blockCount);
    } catch (error) {
      this.#refuseGathered(error);
      throw error;
    }
    const write = this.#take(kind);
    this.#completed(write, this.#write(write));
    if (this.#poison !== undefined) throw this.#poison;
  }

  #write({ sequence, bytes }: GatheredWrite): WriteOutcome {
    return writeToAll(this.#copies, sequence, bytes);
  }

  /**
   * There is no segment for the gathered records: none was written, all are refused and all behind them, and
   * nothing is lost by it.
   */
  #refuseGathered(cause: unknown): void {
    this.#refuseAll(noSegment(cause));
  }

  #refuseAll(error: StoreError): void {
    while (this.#gathering.records > 0) {
      for (const waiter of this.#gathering.discard()) waiter?.reject(error);
    }
  }

  #completed(write: GatheredWrite, outcome: WriteOutcome): void {
    this.#settle(write, outcome);
    this.#answer(write);
  }

  /** A write has ended: everything in it is durable, or the log is poisoned. */
  #settle(write: GatheredWrite, outcome: WriteOutcome): void {
    if (outcome.mirrorFailed !== undefined) this.#dropMirror(outcome.mirrorFailed, write.waiters);
    else if (outcome.failed !== undefined) this.#poisonWith(outcome.failed, write.waiters);
    if (this.#poison !== undefined) return;
    this.#chain.durableThrough = write.sequence + write.bytes.byteLength / BLOCK_BYTES - 1;
    this.#durableLsn = write.firstLsn + write.records - 1;
    this.#isSealed = write.kind === "seal";
    this.#counts.add(write);
    this.#keeper.written(write.logStart);
    if (!this.#isSealed && this.#sealTimer === undefined) this.#armSeal();
  }

  /** Tells those who wait for a write that it is durable; after a poisoning they know already. */
  #answer({ waiters, firstLsn }: GatheredWrite): void {
    if (this.#poison !== undefined) return;
    // Whoever waits for several records in a row is told of the last of them.
    for (let index = 0; index < waiters.length; index++) {
      const waiter = waiters[index];
      if (waiter !== undefined && waiter !== waiters[index + 1]) waiter.resolve(firstLsn + index);
    }
  }

  #poisonWith(cause: StoreError, waiters: readonly (Waiter | undefined)[]): void {
    this.#poison = poisonedBy(cause);
    const behind = this.#inFlight.splice(0).flatMap((write) => write.waiters);
    for (const waiter of [...waiters, ...behind]) waiter?.reject(this.#poison);
    this.#refuseAll(this.#poison);
  }

  /**
   * The log has a write and the mirror has not, or has no place for it. That the log goes on alone, in a higher epoch, is
   * durable before the write is acknowledged: the mirror can never again speak for the end of the log.
   */
  #dropMirror(cause: StoreError, waiters: readonly (Waiter | undefined)[]): void {
    const mirror = this.#copies[1];
    invariant(mirror !== undefined, "a log without a mirror cannot lose it");
    this.#copies = this.#copies.slice(0, 1);
    this.#carrier?.dropMirror();
    this.#keeper.dropMirror();
    mirror.close();
    try {
      this.#chain.epoch++;
      this.#chain.durableThrough = this.#chain.nextSequence - 1;
      writeOpenBlock(this.#copies, this.#chain, FLAG_MIRROR_DROPPED);
      this.#counts.addOpenBlock();
    } catch (error) {
      this.#poisonWith(error as StoreError, waiters);
    }
    this.#warn(mirrorLost(mirror.directory, cause));
  }

  #armSeal(): void {
    const afterMs = this.#options.sealAfterMs ?? SEAL_AFTER_MS;
    clearTimeout(this.#sealTimer);
    this.#sealTimer = setTimeout(() => this.#sealWhenIdle(afterMs), afterMs);
    this.#sealTimer.unref();
  }

  /** A block without records proves the last write complete, and moves readers in other processes on. */
  #sealWhenIdle(afterMs: number): void {
    this.#sealTimer = undefined;
    if (this.#isSealed || this.#poison !== undefined || this.#isClosed) return;
    const isQuiet = performance.now() - this.#counts.lastMs >= afterMs * 0.9;
    if (!isQuiet || this.#inFlight.length > 0 || this.#gathering.records > 0) this.#armSeal();
    else if (this.#carrier !== undefined) this.#startGathered("seal");
    else if (this.#keeper.isReady(1)) this.#writeGathered("seal");
    else this.#armSeal();
  }

  /** A log without space for its seal is whole all the same. */
  #sealAtClose(): void {
    try {
      this.#makeReady(1);
    } catch (error) {
      this.#warn(error as StoreError);
      return;
    }
    this.#writeGathered("seal");
  }

  #warn(warning: StoreError): void {
    this.#options.onWarning?.(warning);
  }
}
