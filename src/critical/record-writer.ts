import { COMMITS_IN_FLIGHT_MAX, TRANSACTION_BYTES_MAX } from "../limits.ts";
import { ByteWriter } from "./byte-writer.ts";
import type { LogRecord } from "./change.ts";
import type { ValueCodec } from "./codec.ts";
import { Entry, type ValuePage } from "./entry.ts";
import {
  CHANGE_ADOPT,
  CHANGE_CLEAR,
  CHANGE_DEFINE_MAP,
  CHANGE_DEFINE_SEQUENCE,
  CHANGE_DELETE,
  CHANGE_END,
  CHANGE_FENCE,
  CHANGE_LIFT_FENCE,
  CHANGE_PUT,
  CHANGE_PUT_EXPIRING,
  CHANGE_SEQUENCE,
  FENCE_KINDS,
  FLAG_ACTOR,
  FLAG_BASED_ON,
  FLAG_CUT,
  FLAG_IDEMPOTENCY,
  FLAG_REASON,
  KIND_CUT,
  KIND_TRANSACTION,
} from "./record-format.ts";
import type { Fence } from "./sequence.ts";
import { RECORD_PAGE_BYTES, type ValuePages } from "./value-pages.ts";

/** Entries that wait to be used again: as many as there may be commits in flight. */
export const REPLACED_MAX = COMMITS_IN_FLIGHT_MAX;

interface Place {
  buffer: Buffer;
  offset: number;
  end: number;
}

/** A key's new value. */
export interface Put {
  tableId: number;
  key: string;
  value: unknown;
  codec: ValueCodec;
  schemaVersion: number;
  expiresAtUs: number;
}

/**
 * Writes one record at a time, each change as the transaction makes it. A record that was appended stays where it
 * was written, for as long as an entry or the history needs its bytes: nothing copies them again.
 */
export class RecordWriter {
  readonly #out: ByteWriter;
  readonly #values: ValuePages;
  /** What `#out` writes to. */
  #page: ValuePage;
  /** Entries for the next writes: the collector need not move new ones. */
  readonly #replaced: Entry[] = [];

  constructor(values: ValuePages) {
    this.#values = values;
    const allocate = (sizeBytes: number) => values.takeRecords(sizeBytes);
    this.#out = new ByteWriter(RECORD_PAGE_BYTES, TRANSACTION_BYTES_MAX, allocate);
    this.#page = values.openRecords(this.#out.buffer, 0);
  }

  begin(kind: LogRecord["kind"], lsn: number): void {
    const out = this.#out;
    if (this.#page.generation === this.#values.generation) out.restart();
    else {
      // What is current in this page is being moved to another.
      out.renew();
      this.#page = this.#values.openRecords(out.buffer, lsn - 1);
    }
    out.u8(kind === "cut" ? KIND_CUT : KIND_TRANSACTION);
    out.u8(0);
  }

  /**
   * Writes a change and its value; returns the value's bytes as an entry, which lie where they were written. Of one
   * that is refused nothing stays.
   */
  put(put: Put, lsn: number): Entry {
    const out = this.#out;
    const { expiresAtUs, schemaVersion } = put;
    const before = out.position - out.start;
    try {
      out.u8(expiresAtUs === 0 ? CHANGE_PUT : CHANGE_PUT_EXPIRING);
      out.varint(put.tableId);
      out.text16(put.key);
      out.varint(schemaVersion);
      if (expiresAtUs !== 0) out.u64(expiresAtUs);
      out.ensure(2);
      const lengthAt = out.position - out.start;
      out.position += 2;
      put.codec.encode(put.value, out);
      const sizeBytes = out.lengthBefore(lengthAt);
      if (this.#page.bytes !== out.buffer) this.#page = this.#values.openRecords(out.buffer, lsn);
      const offset = out.position - sizeBytes;
      let entry = this.#replaced.pop();
      if (entry === undefined) {
        entry = new Entry(out.buffer, offset, sizeBytes, schemaVersion, expiresAtUs, lsn);
        entry.page = this.#page;
        return entry;
      }
      entry.renew(out.buffer, offset, sizeBytes, this.#page);
      entry.schemaVersion = schemaVersion;
      entry.expiresAtUs = expiresAtUs;
      entry.lsn = lsn;
      return entry;
    } catch (error) {
      out.position = out.start + before;
      throw error;
    }
  }

  /** Takes an entry that was replaced and that nobody holds: a later write gets it. */
  reuse(entry: Entry): void {
    if (this.#replaced.length < REPLACED_MAX) this.#replaced.push(entry);
  }

  /** Refuses a value that `put` would refuse; nothing is written. */
  check(value: unknown, codec: ValueCodec): void {
    const out = this.#out;
    const before = out.position - out.start;
    try {
      codec.encode(value, out);
    } finally {
      out.position = out.start + before;
    }
  }

  delete(tableId: number, key: string): void {
    this.#out.u8(CHANGE_DELETE);
    this.#out.varint(tableId);
    this.#out.text16(key);
  }

  clear(tableId: number): void {
    this.#out.u8(CHANGE_CLEAR);
    this.#out.varint(tableId);
  }

  defineMap(tableId: number, name: string): void {
    this.#out.u8(CHANGE_DEFINE_MAP);
    this.#out.varint(tableId);
    this.#out.text16(name);
  }

  defineSequence(sequenceId: number, name: string): void {
    this.#out.u8(CHANGE_DEFINE_SEQUENCE);
    this.#out.varint(sequenceId);
    this.#out.text16(name);
  }

  sequence(sequenceId: number, next: bigint, adopts: boolean): void {
    this.#out.u8(adopts ? CHANGE_ADOPT : CHANGE_SEQUENCE);
    this.#out.varint(sequenceId);
    this.#out.i64(next);
  }

  fence(fence: Fence | undefined): void {
    if (fence === undefined) {
      this.#out.u8(CHANGE_LIFT_FENCE);
      return;
    }
    this.#out.u8(CHANGE_FENCE);
    this.#out.u8(FENCE_KINDS.indexOf(fence.kind) + 1);
    this.#out.varint(fence.number);
    this.#out.text16(fence.detail);
  }

  /** Adds who, why and the rest, and says where the record lies; valid until the next `begin` unless it is kept. */
  finish(record: LogRecord & Place): void {
    const out = this.#out;
    out.u8(CHANGE_END);
    const { annotations, idempotencyKey, cut } = record;
    let flags = 0;
    if (annotations !== undefined) flags = writeAnnotations(out, annotations);
    if (idempotencyKey !== undefined) {
      flags |= FLAG_IDEMPOTENCY;
      const valueBytes = record.valueBytes ?? "";
      out.text16(idempotencyKey);
      out.varint(valueBytes.length);
      out.latin1(valueBytes);
    }
    if (cut !== undefined) {
      flags |= FLAG_CUT;
      out.text16(cut.name);
      out.varint(cut.body.byteLength);
      out.bytes(cut.body);
    }
    out.buffer[out.start + 1] = flags;
    record.buffer = out.buffer;
    record.offset = out.start;
    record.end = out.position;
  }

  /** The finished record was appended: its bytes stay as they are. */
  keep(): void {
    this.#out.keep();
  }
}

export function writeAnnotations(
  out: ByteWriter,
  annotations: { actor?: string; reason?: string; basedOn?: readonly string[] },
): number {
  const { actor, reason, basedOn } = annotations;
  let flags = 0;
  if (actor !== undefined) {
    flags |= FLAG_ACTOR;
    out.text16(actor);
  }
  if (reason !== undefined) {
    flags |= FLAG_REASON;
    out.text16(reason);
  }
  if (basedOn !== undefined) {
    flags |= FLAG_BASED_ON;
    out.u8(basedOn.length);
    for (const digest of basedOn) {
      out.u8(digest.length / 2);
      out.bytes(Buffer.from(digest, "hex"));
    }
  }
  return flags;
}
