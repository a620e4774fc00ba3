import type { ColumnType } from "./schema.ts";

/** Column types in a segment's footer: a type's place is its code. Only ever appended to. */
export const TYPE_CODES: readonly ColumnType[] = [
  "f64",
  "f32",
  "i64",
  "u64",
  "i32",
  "u32",
  "i16",
  "u16",
  "i8",
  "u8",
  "bool",
  "utf8",
  "binary",
  "ts_ns",
  "ts_us",
  "ts_ms",
];
