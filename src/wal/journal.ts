import type { StoreError } from "../errors.ts";
import type { RecoveryKernel } from "../kernels/recovery-kernel.ts";
import type { RecordPlaces } from "./record-places.ts";

/**
 * An ordered, durable sequence of records: what critical state is built on. The write-ahead log on a local disk is
 * one implementation; a consensus service could be another, so nothing here speaks of files.
 */
export interface Journal {
  /** The highest LSN known durable; 0n for an empty journal. */
  readonly durableLsn: bigint;
  /** Appends one record and returns once it is durable. The record is kept whole or not at all. */
  appendSync(record: JournalWrite): Appended;
  /**
   * Appends one record and returns at once; `waiter` is told when it is durable, or why it never will be. Records
   * become durable in call order, and after one that was refused none is that came behind it.
   */
  enqueue(record: JournalWrite, waiter: Waiter): void;
  /** Durable records from `lsn` on, in order. `ERR_NOT_FOUND` when they were trimmed. */
  read(lsn: bigint): Iterable<JournalEntry>;
  /** The same without an object for each record, which is what replaying a full log has no time for. */
  scan(lsn: bigint, visit: RecordVisitor): void;
  /**
   * Durable records from `lsn` on where they lie in the kernel's memory already, which opening a journal may have
   * filled. `undefined` when they do not, or do not any more; `ERR_NOT_FOUND` when they were trimmed.
   */
  place?(lsn: bigint, kernel: RecoveryKernel): RecordPlaces | undefined;
  /** Gives up records below `lsn`; their space is reused when a whole segment is free. */
  trim(lsn: bigint): void;
  close(): Promise<void>;
}

export interface JournalRecord {
  /** Copied before the call returns; the caller may reuse it. */
  payload: Uint8Array;
  /** Microseconds since the Unix epoch, below 2⁵³; the caller makes it strictly increase. */
  timeUs: bigint;
}

/** A record to be written: where its payload lies, and its time in microseconds. Copied like the other. */
export interface JournalWrite {
  readonly buffer: Uint8Array;
  readonly offset: number;
  readonly end: number;
  readonly timeUs: number;
}

/** The same of a record given as its payload. */
export function writeOf({ payload, timeUs }: JournalRecord): JournalWrite {
  return { buffer: payload, offset: 0, end: payload.byteLength, timeUs: Number(timeUs) };
}

export interface Appended {
  /** Log sequence number: 1 for the first record, one more for each next. */
  lsn: bigint;
}

/**
 * Told of one record: where its payload lies, in memory that never changes, its LSN, and its time in microseconds.
 */
export type RecordVisitor = (bytes: Buffer, offset: number, end: number, lsn: number, timeUs: number) => void;

/** Waits for records; one may wait for many, and is told of them in their order. */
export interface Waiter {
  /** Its records up to this LSN, which is one of theirs, are durable. */
  resolve(lsn: number): void;
  /** Its next record never will be. */
  reject(error: StoreError): void;
}

export interface JournalEntry extends Appended, JournalRecord {}
