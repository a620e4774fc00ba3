import { Buffer } from "node:buffer";
import { NAME_BYTES_MAX } from "../../limits.ts";
import type { ByteSource } from "./byte-source.ts";
import { type Block, byteBlocks } from "./bytes-blocks.ts";
import { type ColumnType, type NumberType, numbersOf } from "./column.ts";
import { FLAG_DICTIONARY, FLAG_RECIPE, FLAG_VALIDITY } from "./column-format.ts";
import { numberPages } from "./numbers.ts";
import type { PageReader } from "./page-reader.ts";
import { type Formula, readFormula } from "./recipe.ts";

/** A run of numbers, found but not decoded. */
export interface Run {
  type: NumberType;
  count: number;
  pages: ByteSource[];
  /** Pages that were read already. */
  read: (PageReader | undefined)[];
  /** Columns its pages are stored against, by number. */
  dependencies: readonly string[];
}

export interface Text {
  lengths: Run;
  /** Raw bytes of all values, or of the dictionary. */
  sizeBytes: number;
  blocks: Block[];
}

/** A column's parts, found but not decoded. */
export interface ParsedColumn {
  validity?: Run;
  /** The run with a number a row, by which other columns may be stored against this one. */
  main?: Run;
  /** Numbers of fixed-size lists. */
  lists?: Run;
  text?: Text;
  recipe?: ParsedRecipe;
}

export interface ParsedRecipe {
  formula: Formula;
  /** What is kept in place of a source that is not at hand, f64. */
  hidden?: Run;
  /** What is left beside the formula, in units of the last place, i64. */
  residual: Run;
}

/** Columns that one may be stored against: far more than are ever chosen. */
const DEPENDENCIES_MAX = 255;

export interface ColumnHeader {
  flags: number;
  dependencies: string[];
}

export function readHeader(source: ByteSource): ColumnHeader {
  const flags = source.u8();
  const count = source.varint(DEPENDENCIES_MAX);
  const dependencies = Array.from({ length: count }, () =>
    Buffer.from(source.bytes(source.varint(NAME_BYTES_MAX))).toString(),
  );
  return { flags, dependencies };
}

/** Finds a column's parts; `sumOf` adds up a run of lengths, which is decoded for it. */
export function parseColumn(
  source: ByteSource,
  type: ColumnType,
  rows: number,
  sumOf: (lengths: Run) => number,
): ParsedColumn {
  const { flags, dependencies } = readHeader(source);
  const isText = type === "utf8" || type === "binary";
  const own = isText ? FLAG_DICTIONARY : type === "f64" ? FLAG_RECIPE : 0;
  if ((flags & ~(FLAG_VALIDITY | own)) !== 0) {
    throw source.corrupt(`unknown flags ${flags}`);
  }
  const run = (runType: NumberType, count: number, against: readonly string[] = []): Run => {
    const pages = numberPages(source, runType, count);
    return { type: runType, count, pages, read: [], dependencies: against };
  };
  const parsed: ParsedColumn = {};
  if (flags & FLAG_VALIDITY) parsed.validity = run("u8", Math.ceil(rows / 8));
  const numbers = numbersOf(type);
  if (flags & FLAG_RECIPE) {
    const formula = readFormula(source, dependencies);
    const hidden = formula.digits >= 0 ? { hidden: run("f64", rows) } : {};
    parsed.recipe = { formula, ...hidden, residual: run("i64", rows) };
  } else if (numbers?.perRow === 1) parsed.main = run(numbers.type, rows, dependencies);
  else if (numbers) parsed.lists = run(numbers.type, rows * numbers.perRow);
  else if (type === "bool") parsed.main = run("u8", rows, dependencies);
  else {
    const hasDictionary = (flags & FLAG_DICTIONARY) !== 0;
    const lengths = run("u32", hasDictionary ? source.varint(rows) : rows);
    const sizeBytes = sumOf(lengths);
    parsed.text = { lengths, sizeBytes, blocks: byteBlocks(source, sizeBytes) };
    if (hasDictionary) parsed.main = run("u32", rows, dependencies);
  }
  source.finish();
  return parsed;
}
