import { type ColumnKernels, PAGE_ROWS } from "../../kernels/column-kernels.ts";
import { bytesOf } from "./column.ts";
import { type EncodedRun, encodeRuns, type Workbench } from "./numbers.ts";
import { columnOf, type Formula, type Recipes, SOURCE_SUFFIX } from "./recipe.ts";
import { checkRecipes } from "./recipe-check.ts";
import { differenceOfRange, predict, sourceOfAverage } from "./recipe-values.ts";

/** A column as its recipe leaves it. */
export interface DerivedColumn {
  formula: Formula;
  /** What is stored in place of a source that is not at hand. */
  hidden: EncodedRun | undefined;
  residual: EncodedRun;
}

/** A recipe that leaves more than this share of the raw bytes does not fit: the column is stored without it. */
const SHARE_MAX = 0.8;

/** Values of f64 columns by name, with what lies under nulls filled in. */
export type Values = ReadonlyMap<string, Float64Array>;

/**
 * Applies recipes to the columns they name; those that do not fit are left out.
 * @throws StoreError as `checkRecipes`
 */
export function deriveColumns(
  workbench: Workbench,
  values: Values,
  recipes: Recipes,
  profile: "light" | "compact",
): Map<string, DerivedColumn> {
  const formulas = checkRecipes(recipes, (column) => values.has(column));
  const hidden = new Map<string, Float64Array>();
  const valuesOf = (source: string): Float64Array =>
    source.endsWith(SOURCE_SUFFIX) ? hiddenOf(columnOf(source)) : values.get(source)!;
  const hiddenOf = (name: string): Float64Array => {
    const known = hidden.get(name);
    if (known) return known;
    const { kind, rows, digits, sources } = formulas.get(name)!;
    const own = values.get(name)!;
    const made =
      kind === "ema"
        ? sourceOfAverage(own, rows, digits)
        : differenceOfRange(own, valuesOf(sources[0]!), digits);
    hidden.set(name, made);
    return made;
  };
  const derived = new Map<string, DerivedColumn>();
  for (const [name, formula] of formulas) {
    const own = values.get(name)!;
    const sources = formula.sources.map(valuesOf);
    if (formula.digits >= 0) sources.push(hiddenOf(name));
    const left = ulpsBeside(workbench.kernels, own, predict(formula, sources, own));
    const [residual] = encodeRuns(workbench, [{ name, type: "i64", values: left }], profile);
    const stored =
      formula.digits >= 0
        ? encodeRuns(workbench, [{ name, type: "f64", values: hiddenOf(name) }], profile)[0]
        : undefined;
    if (sizeOf(residual) + sizeOf(stored) > own.byteLength * SHARE_MAX) continue;
    derived.set(name, { formula, hidden: stored, residual: residual! });
  }
  dropBroken(derived);
  return derived;
}

/** A source that is kept by a recipe goes with it: what follows from it cannot be derived either. */
function dropBroken(derived: Map<string, DerivedColumn>): void {
  const isBroken = ([, { formula }]: [string, DerivedColumn]) =>
    formula.sources.some((source) => source.endsWith(SOURCE_SUFFIX) && !derived.has(columnOf(source)));
  for (let broken = [...derived].find(isBroken); broken; broken = [...derived].find(isBroken)) {
    derived.delete(broken[0]);
  }
}

const sizeOf = (run: EncodedRun | undefined) => run?.pages.reduce((sum, page) => sum + page.length, 0) ?? 0;

function ulpsBeside(kernels: ColumnKernels, own: Float64Array, predicted: Float64Array): BigInt64Array {
  const { exports, memory, at } = kernels;
  const left = new BigInt64Array(own.length);
  for (let from = 0; from < own.length; from += PAGE_ROWS) {
    const count = Math.min(PAGE_ROWS, own.length - from);
    memory.set(bytesOf(own.subarray(from, from + count)), at.source);
    memory.set(bytesOf(predicted.subarray(from, from + count)), at.reference);
    exports.columnUlps(at.source, at.reference, at.residual, count);
    bytesOf(left.subarray(from, from + count)).set(memory.subarray(at.residual, at.residual + count * 8));
  }
  return left;
}
