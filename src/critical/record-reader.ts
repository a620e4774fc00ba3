import { ByteReader } from "./byte-reader.ts";
import { type Annotations, type Change, type LogRecord, MapChange } from "./change.ts";
import { Entry } from "./entry.ts";
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
  FLAGS_KNOWN,
  KIND_CUT,
  KIND_TRANSACTION,
} from "./record-format.ts";
import type { SequenceState } from "./sequence.ts";
import type { State } from "./state.ts";
import type { Table } from "./table.ts";

const reader = new ByteReader("critical record", Buffer.alloc(0));

/** Where a record lies and what the log says of it. */
export interface RecordPlace {
  buffer: Buffer;
  offset: number;
  end: number;
  lsn: number;
  timeUs: number;
}

/**
 * Reads one record into changes on `state`, ready for `state.apply`. Maps and sequences that the record defines
 * are defined as it is read, unless it has been read before. Values stay in `buffer`, which must not change.
 *
 * @throws ERR_STORE_CORRUPT when the bytes make no sense
 */
export function readRecord({ buffer, offset, end, lsn, timeUs }: RecordPlace, state: State): LogRecord {
  const input = reader;
  input.reuse(buffer, offset, end);
  const kind = input.u8();
  const flags = input.u8();
  if (kind !== KIND_TRANSACTION && kind !== KIND_CUT) throw input.corrupt(`record kind ${kind}`);
  if ((flags & ~FLAGS_KNOWN) !== 0) throw input.corrupt(`record flags ${flags}`);
  const changes: Change[] = [];
  for (let code = input.u8(); code !== CHANGE_END; code = input.u8()) {
    const change = readChange(input, code, lsn, state);
    if (change !== undefined) changes.push(change);
  }
  const record: LogRecord = {
    kind: kind === KIND_CUT ? "cut" : "transaction",
    changes,
    annotations: (flags & 7) === 0 ? undefined : readAnnotations(input, flags),
    idempotencyKey: undefined,
    valueBytes: undefined,
    cut: undefined,
    lsn,
    timeUs,
  };
  if ((flags & FLAG_IDEMPOTENCY) !== 0) {
    record.idempotencyKey = input.text16();
    record.valueBytes = input.latin1(input.length());
  }
  if ((flags & FLAG_CUT) !== 0) {
    const name = input.text16();
    record.cut = { name, body: Uint8Array.from(input.bytes(input.length())) };
  }
  if (input.position !== input.end) throw input.corrupt("bytes after the record's end");
  return record;
}

/** One change behind its code; `undefined` for a definition, which is done then. */
export function readChange(input: ByteReader, code: number, lsn: number, state: State): Change | undefined {
  switch (code) {
    case CHANGE_PUT:
    case CHANGE_PUT_EXPIRING: {
      const table = readTable(input, state);
      const key = input.text16();
      const schemaVersion = input.varint();
      const expiresAtUs = code === CHANGE_PUT_EXPIRING ? input.u64() : 0;
      const length = input.length();
      const after = new Entry(input.buffer, input.position, length, schemaVersion, expiresAtUs, lsn);
      input.position += length;
      return new MapChange("put", table, key, after);
    }
    case CHANGE_DELETE: {
      const table = readTable(input, state);
      const key = input.text16();
      return new MapChange("delete", table, key, undefined);
    }
    case CHANGE_CLEAR:
      return { kind: "clear", table: readTable(input, state), hiding: [], cleared: [] };
    case CHANGE_DEFINE_MAP: {
      const id = input.varint();
      const table = state.table(input.text16());
      if (table.id === id) return undefined;
      if (id !== state.nextTableId || table.id !== 0) throw input.corrupt(`map number ${id} out of order`);
      state.defineTable(table);
      return undefined;
    }
    case CHANGE_DEFINE_SEQUENCE: {
      const id = input.varint();
      const sequence = state.sequence(input.text16());
      if (sequence.id === id) return undefined;
      if (id !== state.nextSequenceId || sequence.id !== 0) {
        throw input.corrupt(`sequence number ${id} out of order`);
      }
      state.defineSequence(sequence);
      return undefined;
    }
    case CHANGE_SEQUENCE:
    case CHANGE_ADOPT: {
      const sequence = readSequence(input, state);
      return { kind: "sequence", sequence, next: input.i64(), adopts: code === CHANGE_ADOPT, before: 0n };
    }
    case CHANGE_FENCE: {
      const kind = FENCE_KINDS[input.u8() - 1];
      if (kind === undefined) throw input.corrupt("an unknown kind of fence");
      const number = input.varint();
      return { kind: "fence", fence: { kind, number, detail: input.text16() } };
    }
    case CHANGE_LIFT_FENCE:
      return { kind: "fence", fence: undefined };
    default:
      throw input.corrupt(`unknown change code ${code}`);
  }
}

function readTable(input: ByteReader, state: State): Table {
  const id = input.varint();
  const table = state.tableById(id);
  if (table === undefined) throw input.corrupt(`map number ${id} is not defined`);
  return table;
}

function readSequence(input: ByteReader, state: State): SequenceState {
  const id = input.varint();
  const sequence = state.sequenceById(id);
  if (sequence === undefined) throw input.corrupt(`sequence number ${id} is not defined`);
  return sequence;
}

export function readAnnotations(input: ByteReader, flags: number): Annotations {
  const annotations: Annotations = {};
  if ((flags & FLAG_ACTOR) !== 0) annotations.actor = input.text16();
  if ((flags & FLAG_REASON) !== 0) annotations.reason = input.text16();
  if ((flags & FLAG_BASED_ON) !== 0) {
    const digests: string[] = [];
    for (let count = input.u8(); count > 0; count--) digests.push(input.bytes(input.u8()).toString("hex"));
    annotations.basedOn = digests;
  }
  return annotations;
}
