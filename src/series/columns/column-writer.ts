import { Buffer } from "node:buffer";
import { bitAt } from "./bitmap.ts";
import { ByteSink } from "./byte-sink.ts";
import { writeBytes } from "./bytes-blocks.ts";
import {
  bytesOf,
  type ColumnType,
  type ColumnValues,
  type NumberArray,
  type NumberType,
  numbersOf,
} from "./column.ts";
import { checkColumn } from "./column-check.ts";
import { FLAG_DICTIONARY, FLAG_RECIPE, FLAG_VALIDITY } from "./column-format.ts";
import { type Dictionary, dictionaryOf } from "./dictionary.ts";
import { type EncodedRun, encodeRuns, type NumberRun, type Workbench, writeRun } from "./numbers.ts";

import { columnOf, formulaName, type Recipes, writeFormula } from "./recipe.ts";
import { type DerivedColumn, deriveColumns } from "./recipe-writer.ts";

export type Profile = "light" | "compact";

export interface WrittenColumn {
  name: string;
  type: ColumnType;
  encoding: string;
  dependsOn: string[];
  bytes: Uint8Array;
}

/** A column and the one run of numbers, a number a row, by which others may be stored against it. */
interface Prepared {
  column: ColumnValues;
  validity: Uint8Array | undefined;
  dictionary: Dictionary | undefined;
  main: NumberRun | undefined;
  derived: DerivedColumn | undefined;
}

export function writeColumns(
  workbench: Workbench,
  columns: readonly ColumnValues[],
  profile: Profile,
  recipes: Recipes,
): WrittenColumn[] {
  const prepared = columns.map(prepare);
  const values = new Map(
    prepared.flatMap(({ column, main }) =>
      column.type === "f64" ? [[column.name, main!.values as Float64Array] as const] : [],
    ),
  );
  const derived = deriveColumns(workbench, values, recipes, profile);
  for (const column of prepared) {
    column.derived = derived.get(column.column.name);
    if (column.derived) column.main = undefined;
  }
  const together = prepared.filter(({ main }) => main !== undefined);
  const runs = encodeRuns(
    workbench,
    together.map(({ main }) => main!),
    profile,
  );
  return prepared.map((column) => {
    const place = together.indexOf(column);
    return writeColumn(workbench, column, place < 0 ? undefined : runs[place], together, profile);
  });
}

function prepare(column: ColumnValues): Prepared {
  checkColumn(column);
  const validity = nullsOf(column);
  const dictionary = dictionaryOf(column);
  const run = (type: NumberType, values: NumberArray) => ({ name: column.name, type, values });
  let main: NumberRun | undefined;
  const numbers = numbersOf(column.type);
  if (numbers?.perRow === 1) main = run(numbers.type, withoutNulls(column, 1, validity));
  else if (column.type === "bool") main = run("u8", spreadBits(bytesOf(column.values), column.rows));
  else if (dictionary) main = run("u32", dictionary.indices);
  return { column, validity, dictionary, main, derived: undefined };
}

function writeColumn(
  workbench: Workbench,
  { column, validity, dictionary, derived }: Prepared,
  main: EncodedRun | undefined,
  together: readonly Prepared[],
  profile: Profile,
): WrittenColumn {
  const { codec } = workbench;
  const { name, type } = column;
  const alone = (runType: NumberType, values: NumberArray) =>
    encodeRuns(workbench, [{ name, type: runType, values }], profile)[0]!;
  const dependsOn = derived
    ? [...new Set(derived.formula.sources.map(columnOf))]
    : (main?.dependencies ?? []).map((of) => together[of]!.column.name);
  const sink = new ByteSink();
  sink.u8((validity ? FLAG_VALIDITY : 0) | (dictionary ? FLAG_DICTIONARY : 0) | (derived ? FLAG_RECIPE : 0));
  sink.varint(dependsOn.length);
  for (const other of dependsOn) {
    const bytes = Buffer.from(other);
    sink.varint(bytes.length).bytes(bytes);
  }
  if (validity) writeRun(sink, alone("u8", validity));
  let encoding = main?.encoding ?? "";
  if (dictionary) {
    sink.varint(dictionary.lengths.length);
    writeRun(sink, alone("u32", dictionary.lengths));
    writeBytes(codec, sink, dictionary.bytes, profile);
    encoding = `dictionary(${dictionary.lengths.length}) ${encoding}`;
  }
  if (main) writeRun(sink, main);
  else if (derived) encoding = writeDerived(sink, derived, dependsOn);
  else {
    const numbers = numbersOf(type);
    if (numbers) {
      const run = alone(numbers.type, withoutNulls(column, numbers.perRow, validity));
      writeRun(sink, run);
      encoding = run.encoding;
    } else {
      const offsets = column.offsets!;
      const lengths = alone("u32", lengthsOf(offsets));
      writeRun(sink, lengths);
      const bytes = bytesOf(column.values).subarray(offsets[0]!, offsets[column.rows]!);
      encoding = `lengths ${lengths.encoding}, bytes ${writeBytes(codec, sink, bytes, profile)}`;
    }
  }
  if (validity) encoding = `nullable ${encoding}`;
  return { name, type, encoding, dependsOn, bytes: sink.finish() };
}

function writeDerived(
  sink: ByteSink,
  { formula, hidden, residual }: DerivedColumn,
  dependsOn: string[],
): string {
  writeFormula(sink, formula, (column) => dependsOn.indexOf(column));
  if (hidden) writeRun(sink, hidden);
  writeRun(sink, residual);
  return `${formulaName(formula)}${hidden ? ` ${hidden.encoding}` : ""}, rest ${residual.encoding}`;
}

function lengthsOf(offsets: Int32Array): Uint32Array {
  const lengths = new Uint32Array(offsets.length - 1);
  for (let i = 0; i < lengths.length; i++) lengths[i] = offsets[i + 1]! - offsets[i]!;
  return lengths;
}

function spreadBits(bitmap: Uint8Array, rows: number): Uint8Array {
  const values = new Uint8Array(rows);
  for (let i = 0; i < rows; i++) values[i] = (bitmap[i >> 3]! >> (i & 7)) & 1;
  return values;
}

/** The validity bitmap, its unused bits 0; undefined when no row is null. */
function nullsOf({ rows, validity }: ColumnValues): Uint8Array | undefined {
  if (validity === undefined) return undefined;
  const bits = validity.slice(0, Math.ceil(rows / 8));
  if ((rows & 7) !== 0) bits[bits.length - 1]! &= (1 << (rows & 7)) - 1;
  let valid = 0;
  for (let i = 0; i < rows; i++) if (bitAt(bits, i)) valid++;
  return valid === rows ? undefined : bits;
}

/** What lies under a null has no meaning, so it repeats what came before: nothing predicts better. */
function withoutNulls({ values, rows }: ColumnValues, perRow: number, validity?: Uint8Array): NumberArray {
  if (validity === undefined) return values;
  const copy = values.slice() as Float64Array;
  for (let row = 1; row < rows; row++) {
    if (!bitAt(validity, row)) copy.copyWithin(row * perRow, (row - 1) * perRow, row * perRow);
  }
  return copy;
}
