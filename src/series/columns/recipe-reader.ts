import { type ColumnKernels, PAGE_ROWS } from "../../kernels/column-kernels.ts";
import { bytesOf } from "./column.ts";
import type { Formula } from "./recipe.ts";
import { emaWeight, predict } from "./recipe-values.ts";

/** A column from its formula, the values of its sources (a kept one last), and what is left beside it. */
export function restoreDerived(
  kernels: ColumnKernels,
  formula: Formula,
  sources: readonly Float64Array[],
  left: BigInt64Array,
): Float64Array {
  const { exports, memory, at } = kernels;
  const out = new Float64Array(left.length);
  const isAverage = formula.kind === "ema";
  const predicted = isAverage ? sources[0]! : predict(formula, sources);
  const alpha = emaWeight(formula.rows);
  for (let from = 0; from < left.length; from += PAGE_ROWS) {
    const count = Math.min(PAGE_ROWS, left.length - from);
    memory.set(bytesOf(left.subarray(from, from + count)), at.residual);
    memory.set(bytesOf(predicted.subarray(from, from + count)), at.reference);
    if (isAverage) {
      const before = from === 0 ? (predicted[0] ?? 0) : out[from - 1]!;
      exports.columnFromAverage(at.residual, at.reference, at.source, count, alpha, 1 - alpha, before);
    } else exports.columnFromUlps(at.residual, at.reference, at.source, count);
    bytesOf(out.subarray(from, from + count)).set(memory.subarray(at.source, at.source + count * 8));
  }
  return out;
}
