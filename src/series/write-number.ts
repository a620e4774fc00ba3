import type { Pair } from "./key-value.ts";
import { misfit } from "./misfit.ts";
import type { Column } from "./schema.ts";

const TWO_32 = 4_294_967_296;

/** Writes a 64-bit integer, little-endian: a bigint, a safe integer or its halves. */
export function writeInteger(column: Column, view: DataView, at: number, value: unknown): void {
  const unsigned = column.type === "u64";
  if (typeof value === "object" && value !== null) {
    const { hi, lo } = value as Pair;
    const fits = unsigned ? hi >= 0 && hi < TWO_32 : hi >= -TWO_32 / 2 && hi < TWO_32 / 2;
    if (!Number.isInteger(hi) || !Number.isInteger(lo) || !fits || lo < -TWO_32 / 2 || lo >= TWO_32) {
      throw misfit(column, value, "halves are 32-bit integers");
    }
    view.setUint32(at, lo, true);
    view.setUint32(at + 4, hi, true);
    return;
  }
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value) || (unsigned && value < 0)) {
      throw misfit(column, value, "it takes a bigint, {hi, lo} or a safe integer");
    }
    view.setUint32(at, value >>> 0, true);
    view.setInt32(at + 4, Math.floor(value / TWO_32), true);
    return;
  }
  if (typeof value !== "bigint") throw misfit(column, value, "it takes a bigint, {hi, lo} or a safe integer");
  const wrapped = unsigned ? BigInt.asUintN(64, value) : BigInt.asIntN(64, value);
  if (wrapped !== value) throw misfit(column, value, "it is over 64 bits");
  if (unsigned) view.setBigUint64(at, value, true);
  else view.setBigInt64(at, value, true);
}

const RANGES: Record<string, readonly [least: number, most: number]> = {
  i32: [-2_147_483_648, 2_147_483_647],
  u32: [0, 4_294_967_295],
  i16: [-32_768, 32_767],
  u16: [0, 65_535],
  i8: [-128, 127],
  u8: [0, 255],
};

/** Writes a number of at most 32 bits, or any number as f64 or, rounded, as f32, and returns where it ends. */
export function writeNumber(column: Column, view: DataView, at: number, value: unknown): number {
  if (typeof value !== "number") throw misfit(column, value, "it takes a number");
  if (column.type === "f64") {
    view.setFloat64(at, value, true);
    return at + 8;
  }
  if (column.type === "f32") {
    view.setFloat32(at, value, true);
    return at + 4;
  }
  const [least, most] = RANGES[column.type]!;
  if (!Number.isInteger(value) || value < least || value > most) {
    throw misfit(column, value, `it takes integers from ${least} to ${most}`);
  }
  switch (column.type) {
    case "i32":
      view.setInt32(at, value, true);
      return at + 4;
    case "u32":
      view.setUint32(at, value, true);
      return at + 4;
    case "i16":
      view.setInt16(at, value, true);
      return at + 2;
    case "u16":
      view.setUint16(at, value, true);
      return at + 2;
    case "i8":
      view.setInt8(at, value);
      return at + 1;
    default:
      view.setUint8(at, value);
      return at + 1;
  }
}
