// Applies records to rows: docs/formats/critical.md and src/critical/record-format.ts say what is where.
import { aheadHash, lookAhead } from "./ahead";
import { CHANGE_ADOPT, CHANGE_DELETE, CHANGE_END, CHANGE_PUT, CHANGE_PUT_EXPIRING, CHANGE_SEQUENCE } from "./changes";
import { take } from "./memory";
import { PLACE_BYTES } from "./records";
import {
  EXPIRES,
  EXPIRY,
  FLAGS,
  GONE,
  KEY_BYTES,
  LSN,
  REMOVED,
  ROW_BYTES,
  rowOf,
  SCHEMA_VERSION,
  STORED_VERSION,
  tableOf,
  VALUE_AT,
  VALUE_BYTES,
} from "./rows";

/** What `replay` ends with. */
const DONE: i32 = 0;
/** A change that the caller applies: `replayRecord`, `replayPosition` and `replayResume` say and take where. */
const YOURS: i32 = 1;
/** The record's bytes make no sense. */
const BAD: i32 = 2;
/** There are more: the code that goes on may be faster by now. */
const MORE: i32 = 3;
const SLICE_RECORDS: u32 = 2048;

const KIND_TRANSACTION: u32 = 1;
const KIND_CUT: u32 = 2;
const FLAG_ACTOR: u32 = 1;
const FLAG_REASON: u32 = 2;
const FLAG_BASED_ON: u32 = 4;
const FLAG_IDEMPOTENCY: u32 = 8;
const FLAG_CUT: u32 = 16;
const FLAGS_KNOWN: u32 = 31;

const PLACE_FIRST_BEFORE: usize = 24;

/** What a change replaced: a row's values, or a number of a sequence, or what only the caller knows. */
const BEFORE_ROW: u32 = 0;
const BEFORE_NOTHING: u32 = 1;
const BEFORE_NUMBER: u32 = 2;
const BEFORE_YOURS: u32 = 3;

let places: usize = 0;
let records: u32 = 0;
let record: u32 = 0;
/** LSN of the first record. */
let firstLsn: u64 = 0;
/** Up to this record the rows were looked for ahead. */
let seen: u32 = 0;
/** In the middle of a record: where to go on. */
let resumeAt: usize = 0;
let position: usize = 0;
let end: usize = 0;
/** The bytes read so far made no sense. */
let failed: bool = false;

let befores: usize = 0;
let beforeCount: u32 = 0;
let beforeCapacity: u32 = 0;

/** Records with an idempotency key: number of the record, where the key stands. */
let notes: usize = 0;
let noteCount: u32 = 0;

/** By number: i64 next, u32 fence under which it was adopted, u32 1 when it is defined. */
let sequences: usize = 0;
let sequenceLimit: u32 = 0;
let fence: u32 = 0;

export function beginReplay(at: usize, count: u32, lsn: f64, sequenceCount: u32): void {
  places = at;
  records = count;
  record = 0;
  seen = 0;
  firstLsn = <u64>lsn;
  resumeAt = 0;
  beforeCount = 0;
  beforeCapacity = count + (count >> 1) + 64;
  befores = take(<usize>beforeCapacity * ROW_BYTES);
  notes = take(<usize>count << 3);
  noteCount = 0;
  sequences = take(<usize>sequenceCount << 4);
  sequenceLimit = sequenceCount;
}

export function sequenceTable(): usize {
  return sequences;
}

export function setFence(number: u32): void {
  fence = number;
}

export function replayRecord(): u32 {
  return record;
}

export function replayPosition(): usize {
  return position;
}

export function replayResume(at: usize): void {
  resumeAt = at;
}

export function beforeRows(): usize {
  return befores;
}

export function beforesSoFar(): u32 {
  return beforeCount;
}

export function noteList(): usize {
  return notes;
}

export function notesSoFar(): u32 {
  return noteCount;
}

/** A change that the caller has applied replaced something; returns the number under which it is known. */
export function beforeYours(): u32 {
  setBefore(BEFORE_YOURS);
  return beforeCount - 1;
}

/** Applies records until all are, one needs the caller, or they were many. */
export function replay(): i32 {
  const sliceEnd = record + SLICE_RECORDS;
  for (; record < records; record++) {
    if (record == sliceEnd) return MORE;
    if (record >= seen) seen = lookAhead(places, record, records);
    const place = places + <usize>record * PLACE_BYTES;
    const start = <usize>load<f64>(place);
    end = <usize>load<f64>(place, 8);
    failed = false;
    if (end - start < 3) return BAD;
    const kind = <u32>load<u8>(start);
    const flags = <u32>load<u8>(start, 1);
    if ((kind != KIND_TRANSACTION && kind != KIND_CUT) || (flags & ~FLAGS_KNOWN) != 0) return BAD;
    if (resumeAt == 0) {
      position = start + 2;
      store<f64>(place, <f64>beforeCount, PLACE_FIRST_BEFORE);
    } else position = resumeAt;
    resumeAt = 0;
    for (;;) {
      const at = position;
      const code = readU8();
      if (failed) return BAD;
      if (code == CHANGE_END) break;
      if (code == CHANGE_PUT || code == CHANGE_PUT_EXPIRING) put(code);
      else if (code == CHANGE_DELETE) remove();
      else if (code == CHANGE_SEQUENCE || code == CHANGE_ADOPT) move(code);
      else {
        position = at;
        return YOURS;
      }
      if (failed) return BAD;
    }
    if (flags != 0) skipNotes(flags);
    if (failed || position != end) return BAD;
  }
  return DONE;
}

function put(code: u32): void {
  const table = tableOf(varint());
  const keyBytes = <usize>readU16();
  const key = position;
  skip(keyBytes);
  const version = varint();
  const expiry = code == CHANGE_PUT_EXPIRING ? readU64() : 0;
  const valueBytes = varint();
  const value = position;
  skip(valueBytes);
  if (table == 0 || expiry >> 53 != 0 || version > 0xffff) failed = true;
  if (failed) return;
  const row = rowOf(table, key, keyBytes, aheadHash(record, key, keyBytes), true);
  if (load<u8>(row, FLAGS) == GONE) {
    setBefore(BEFORE_NOTHING);
    store<u32>(table, load<u32>(table, REMOVED) - 1, REMOVED);
  } else copyBefore(row);
  store<u32>(row, <u32>value, VALUE_AT);
  store<u32>(row, <u32>valueBytes, VALUE_BYTES);
  store<u64>(row, firstLsn + <u64>record, LSN);
  store<u16>(row, <u16>version, SCHEMA_VERSION);
  store<u64>(row, expiry, EXPIRY);
  if (<u32>version > load<u32>(table, STORED_VERSION)) store<u32>(table, <u32>version, STORED_VERSION);
  if (expiry != 0) store<u32>(table, 1, EXPIRES);
}

function remove(): void {
  const table = tableOf(varint());
  const keyBytes = <usize>readU16();
  const key = position;
  skip(keyBytes);
  if (table == 0) failed = true;
  if (failed) return;
  const row = rowOf(table, key, keyBytes, aheadHash(record, key, keyBytes), false);
  if (row == 0 || load<u8>(row, FLAGS) == GONE) {
    setBefore(BEFORE_NOTHING);
    return;
  }
  copyBefore(row);
  store<u64>(row, 0, EXPIRY);
  store<u8>(row, GONE, FLAGS);
  store<u32>(table, load<u32>(table, REMOVED) + 1, REMOVED);
}

function move(code: u32): void {
  const id = varint();
  const next = readU64();
  const sequence = sequences + (<usize>id << 4);
  if (id >= <u64>sequenceLimit || failed || load<u32>(sequence, 12) == 0) {
    failed = true;
    return;
  }
  setBefore(BEFORE_NUMBER);
  store<u64>(befores + <usize>(beforeCount - 1) * ROW_BYTES, load<u64>(sequence), VALUE_BYTES);
  store<u64>(sequence, next);
  if (code == CHANGE_ADOPT) store<u32>(sequence, fence, 8);
}

/** What a row holds; in the place of its key's address stands what kind of a before this is. */
function copyBefore(row: usize): void {
  setBefore(BEFORE_ROW);
  const target = befores + <usize>(beforeCount - 1) * ROW_BYTES;
  store<u32>(target, load<u32>(row, VALUE_AT), VALUE_AT);
  store<u64>(target, load<u64>(row, VALUE_BYTES), VALUE_BYTES);
  store<u64>(target, load<u64>(row, VALUE_BYTES + 8), VALUE_BYTES + 8);
  store<u64>(target, load<u64>(row, EXPIRY), EXPIRY);
}

function setBefore(kind: u32): void {
  if (beforeCount == beforeCapacity) {
    const grown = take(<usize>beforeCapacity * 2 * ROW_BYTES);
    memory.copy(grown, befores, <usize>beforeCapacity * ROW_BYTES);
    befores = grown;
    beforeCapacity *= 2;
  }
  const target = befores + <usize>(beforeCount++) * ROW_BYTES;
  store<u32>(target, kind);
}

/** What stands behind the changes: annotations, which only history reads, and idempotency keys, which are noted. */
function skipNotes(flags: u32): void {
  if ((flags & FLAG_ACTOR) != 0) skip(<u64>readU16());
  if ((flags & FLAG_REASON) != 0) skip(<u64>readU16());
  if ((flags & FLAG_BASED_ON) != 0) {
    for (let count = readU8(); count > 0 && !failed; count--) skip(<u64>readU8());
  }
  if ((flags & FLAG_IDEMPOTENCY) != 0) {
    const note = notes + (<usize>(noteCount++) << 3);
    store<u32>(note, record);
    store<u32>(note, <u32>position, 4);
    skip(<u64>readU16());
    skip(varint());
  }
  if ((flags & FLAG_CUT) != 0) {
    skip(<u64>readU16());
    skip(varint());
  }
}

function skip(sizeBytes: u64): void {
  if (sizeBytes > <u64>(end - position)) failed = true;
  else position += <usize>sizeBytes;
}

function readU8(): u32 {
  if (position >= end) {
    failed = true;
    return 0;
  }
  return <u32>load<u8>(position++);
}

function readU16(): u32 {
  if (end - position < 2) {
    failed = true;
    return 0;
  }
  const value = <u32>load<u16>(position);
  position += 2;
  return value;
}

function readU64(): u64 {
  if (end - position < 8) {
    failed = true;
    return 0;
  }
  const value = load<u64>(position);
  position += 8;
  return value;
}

/** LEB128 of at most seven bytes. */
function varint(): u64 {
  let value: u64 = 0;
  for (let shift: u64 = 0; shift < 49; shift += 7) {
    const byte = <u64>readU8();
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  failed = true;
  return 0;
}
