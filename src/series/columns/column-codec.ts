import { loadCodec } from "../../codec/codec.ts";
import { StoreError } from "../../errors.ts";
import { loadColumnKernels } from "../../kernels/column-kernels.ts";
import type { ColumnValues } from "./column.ts";
import { writeColumns } from "./column-writer.ts";
import { type ColumnBytes, ColumnsDecoder } from "./columns-decoder.ts";
import { findRecipes } from "./infer-recipes.ts";
import { IntegerRing } from "./integer-ring.ts";
import type { Workbench } from "./numbers.ts";
import type { Recipe, Recipes } from "./recipe.ts";

export interface EncodeOptions {
  /** `light` decodes at memory speed and by 1,024 rows, `compact` takes less room. Default `compact`. */
  profile?: "light" | "compact";
  /** How columns follow from others, by name. A column comes back bit for bit even where its recipe is wrong. */
  derive?: Recipes;
}

/** A column as stored: what a segment keeps are name, type and bytes; the rest can be read from them. */
export interface EncodedColumn extends ColumnBytes {
  /** How its first page is stored, for people: `decimal(2) delta compact`. */
  encoding: string;
  /** Columns that must be at hand to decode this one. */
  dependsOn: string[];
}

/** Turns columns into bytes and back. Not reentrant; one per thread. */
export interface ColumnCodec {
  /**
   * Encodes columns of equal length, each in the smallest way found. The columns are not kept, the bytes are the
   * caller's.
   * @throws StoreError ERR_INVALID_ARGUMENT for columns of unequal length, two of one name, or a wrong array.
   */
  encode(columns: readonly ColumnValues[], options?: EncodeOptions): EncodedColumn[];
  /**
   * Reads encoded columns of `rows` rows. Nothing is decoded before it is asked for; the bytes are kept, not copied.
   * @throws StoreError ERR_STORE_CORRUPT, when a column is first asked for, for bytes that no encoder writes.
   */
  decoder(columns: readonly ColumnBytes[], rows: number): ColumnsDecoder;
  /**
   * Finds recipes that fit computed columns of a table, for `derive`, and what each saves. Looks at the table's first
   * rows for candidates and encodes the table twice; takes seconds for a wide table.
   */
  inferRecipes(columns: readonly ColumnValues[], options?: EncodeOptions): InferredRecipe[];
}

export interface InferredRecipe {
  column: string;
  recipe: Recipe;
  /** Stored bytes of the column without and with the recipe, a source that it keeps included. */
  plainBytes: number;
  derivedBytes: number;
}

/** Loads the kernels and compressors, once per thread: about 50 MB of WebAssembly memory, of which what is not touched costs nothing. */
export function loadColumnCodec(): Promise<ColumnCodec> {
  loading ??= load();
  return loading;
}
let loading: Promise<ColumnCodec> | undefined;

async function load(): Promise<ColumnCodec> {
  const [kernels, codec] = await Promise.all([loadColumnKernels(), loadCodec()]);
  const workbench = { kernels, codec, kept: new IntegerRing(kernels) };
  return {
    encode: (columns, options) => encode(workbench, columns, options),
    inferRecipes: (columns, options) => inferRecipes(workbench, columns, options),
    decoder: (columns, rows) => new ColumnsDecoder(workbench, columns, rows),
  };
}

function encode(
  workbench: Workbench,
  columns: readonly ColumnValues[],
  options: EncodeOptions = {},
): EncodedColumn[] {
  const rows = columns[0]?.rows ?? 0;
  const names = new Set<string>();
  for (const { name, rows: own } of columns) {
    if (own === rows && !names.has(name)) {
      names.add(name);
      continue;
    }
    const problem = own === rows ? "comes twice" : `has ${own} rows, the first ${rows}`;
    throw new StoreError("ERR_INVALID_ARGUMENT", `column "${name}" ${problem}`, {
      context: { column: name, rows: own },
      hint: "Pass columns of one length, each under a name of its own.",
    });
  }
  return writeColumns(workbench, columns, options.profile ?? "compact", options.derive ?? {});
}

function inferRecipes(
  workbench: Workbench,
  columns: readonly ColumnValues[],
  options: EncodeOptions = {},
): InferredRecipe[] {
  const fits = findRecipes(columns);
  if (fits.length === 0) return [];
  const derive = Object.fromEntries(fits.map(({ column, recipe }) => [column, recipe]));
  const plain = encode(workbench, columns, { ...options, derive: {} });
  const derived = encode(workbench, columns, { ...options, derive });
  const bytesIn = (encoded: EncodedColumn[], name: string) =>
    encoded.find((column) => column.name === name)!.bytes.length;
  return fits.map(({ column, recipe }) => {
    return {
      column,
      recipe,
      plainBytes: bytesIn(plain, column),
      derivedBytes: bytesIn(derived, column),
    };
  });
}
