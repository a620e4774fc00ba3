/**
 * Payload of one critical log record. The log adds LSN, time and checksums; docs/formats/critical.md has a worked
 * example. Integers are little-endian, `varint` is LEB128 of at most 53 bits.
 *
 * ```
 *   record     u8 kind (1 transaction, 2 cut)   u8 flags   change*   u8 0   note*
 *   note       in the order of the flag bits:
 *     1  actor            u16 length, UTF-8
 *     2  reason           u16 length, UTF-8
 *     4  based on         u8 count, each: u8 length, digest
 *     8  idempotency key  u16 length, UTF-8, then varint length, encoded return value
 *    16  cut              u16 length, UTF-8 name, then varint length, body
 *
 *   change     u8 code, then
 *     1  put              varint map, u16 length, key, varint schema version, varint length, value
 *     2  put, expiring    the same with u64 expiry in microseconds before the value's length
 *     3  delete           varint map, u16 length, key
 *     4  clear            varint map
 *     5  define map       varint map, u16 length, name
 *     6  define sequence  varint sequence, u16 length, name
 *     7  sequence         varint sequence, i64 next
 *     8  adopt            varint sequence, i64 next
 *     9  fence            u8 kind (1 backup, 2 fork, 3 copy, 4 rollback), varint number, u16 length, detail
 *    10  lift the fence
 * ```
 */
export const KIND_TRANSACTION = 1;
export const KIND_CUT = 2;

export const FLAG_ACTOR = 1;
export const FLAG_REASON = 2;
export const FLAG_BASED_ON = 4;
export const FLAG_IDEMPOTENCY = 8;
export const FLAG_CUT = 16;
export const FLAGS_KNOWN = 31;

export const CHANGE_END = 0;
export const CHANGE_PUT = 1;
export const CHANGE_PUT_EXPIRING = 2;
export const CHANGE_DELETE = 3;
export const CHANGE_CLEAR = 4;
export const CHANGE_DEFINE_MAP = 5;
export const CHANGE_DEFINE_SEQUENCE = 6;
export const CHANGE_SEQUENCE = 7;
export const CHANGE_ADOPT = 8;
export const CHANGE_FENCE = 9;
export const CHANGE_LIFT_FENCE = 10;

/** In the order of their numbers in the file, from 1. */
export const FENCE_KINDS = ["backup", "fork", "copy", "rollback"] as const;
