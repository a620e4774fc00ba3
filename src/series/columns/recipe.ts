import { StoreError } from "../../errors.ts";
import { RECIPE_ROWS_MAX } from "../../limits.ts";
import type { ByteSink } from "./byte-sink.ts";
import type { ByteSource } from "./byte-source.ts";

/**
 * How a column follows from others. A recipe is a prediction: whatever differs from it is stored beside it, so a column
 * comes back bit for bit even where the recipe is wrong.
 *
 * `of` names the column it follows from; `"ema12#source"` is what column `ema12`, an `ema` without `of`, was made of.
 * Spans, windows and periods are in rows.
 */
export type Recipe =
  /** x / x[lag rows before] - 1. */
  | { return: { of: string; lag?: number } }
  /** ln(x / x[-1]). */
  | { logReturn: { of: string } }
  /**
   * Exponential moving average with weight 2 / (span + 1). Without `of` the source is worked out from the average
   * itself, rounded to `digits` after the point, and stored in its place.
   */
  | { ema: { of?: string; span: number; digits?: number } }
  | { sma: { of: string; window: number } }
  | { sum: { of: string; window: number } }
  /** fast - slow, both columns. */
  | { macd: { fast: string; slow: string } }
  /** Relative strength with Wilder's smoothing, 0 to 100. */
  | { rsi: { of: string; period: number } }
  /** (x - mean) / deviation over the window. */
  | { zscore: { of: string; window: number; ddof?: number } }
  /** Where x lies between mean - width * deviation (0) and mean + width * deviation (1). */
  | { bollinger: { of: string; window: number; width?: number; ddof?: number } }
  /** scale * deviation over the window. */
  | { volatility: { of: string; window: number; ddof?: number; scale?: number } }
  /** (high - low) / of. Without `high` and `low` their difference, of `digits` after the point, is stored. */
  | { range: { of: string; high?: string; low?: string; digits?: number } };

/** Recipes by the names of the columns they make. */
export type Recipes = Record<string, Recipe>;

/** A recipe as stored: which formula, its columns, and its numbers. */
export interface Formula {
  kind: (typeof KINDS)[number];
  /** Columns it follows from; `#source` behind a name as in `Recipe`. */
  sources: string[];
  /** Rows: span, window, period or lag. */
  rows: number;
  /** Digits after the point of what is stored in place of a missing source; -1: all sources are at hand. */
  digits: number;
  ddof: number;
  /** Factor of a deviation. */
  scale: number;
}

const KINDS = [
  "return",
  "logReturn",
  "ema",
  "sma",
  "sum",
  "macd",
  "rsi",
  "zscore",
  "bollinger",
  "volatility",
  "range",
] as const;

const DIGITS_MAX = 15;
export const SOURCE_SUFFIX = "#source";

/** What each formula is told beside its columns, and what it must be told. */
const SETTINGS: Record<Formula["kind"], { may: string[]; must?: string }> = {
  return: { may: ["lag"] },
  logReturn: { may: [] },
  ema: { may: ["span", "digits"], must: "span" },
  sma: { may: ["window"], must: "window" },
  sum: { may: ["window"], must: "window" },
  macd: { may: [] },
  rsi: { may: ["period"], must: "period" },
  zscore: { may: ["window", "ddof"], must: "window" },
  bollinger: { may: ["window", "width", "ddof"], must: "window" },
  volatility: { may: ["window", "ddof", "scale"], must: "window" },
  range: { may: ["digits"] },
};
const SOURCE_KEYS = ["of", "fast", "slow", "high", "low"];

/** The columns a recipe names, `#source` behind them as they are written. */
export function sourcesOf(recipe: Recipe): string[] {
  const [said = {}] = Object.values(recipe) as Record<string, unknown>[];
  return SOURCE_KEYS.map((key) => said[key]).filter((name): name is string => typeof name === "string");
}

/** @throws StoreError ERR_INVALID_ARGUMENT naming the column, for what is no recipe. */
export function formulaOf(column: string, recipe: Recipe): Formula {
  const refuse = (problem: string): never => {
    throw new StoreError("ERR_INVALID_ARGUMENT", `recipe of column "${column}": ${problem}`, {
      context: { column, recipe },
      hint: 'Write a recipe such as { ema: { of: "close", span: 12 } }.',
    });
  };
  const entries = isObject(recipe) ? Object.entries(recipe) : [];
  if (entries.length !== 1 || !isObject(entries[0]![1]))
    return refuse("it is not one formula and its settings");
  const [kind, said] = entries[0] as [string, Record<string, unknown>];
  const known = KINDS.find((name) => name === kind) ?? refuse(`unknown formula "${kind}"`);
  const { may, must } = SETTINGS[known];
  for (const [key, value] of Object.entries(said)) {
    if (value === undefined) continue;
    const isSource = SOURCE_KEYS.includes(key);
    if (!isSource && !may.includes(key)) refuse(`${known} has no "${key}"`);
    if (typeof value !== (isSource ? "string" : "number")) {
      refuse(`"${key}" is ${isSource ? "the name of a column" : "a number"}, not ${JSON.stringify(value)}`);
    }
  }
  if (must !== undefined && said[must] === undefined) refuse(`${known} needs "${must}"`);
  const sources = sourcesOf(recipe);
  const rows = Number(said["span"] ?? said["window"] ?? said["period"] ?? said["lag"] ?? 1);
  const ddof = Number(said["ddof"] ?? 0);
  const scale = Number(said["scale"] ?? said["width"] ?? (known === "bollinger" ? 2 : 1));
  const needed =
    { macd: 2, range: said["high"] === undefined ? 1 : 3, ema: sources.length }[known as string] ?? 1;
  const digits =
    (known === "ema" && sources.length === 0) || (known === "range" && sources.length === 1)
      ? Number(said["digits"] ?? 2)
      : -1;
  if (said["digits"] !== undefined && digits !== said["digits"]) refuse("it has its sources and keeps none");
  if (Number(said["digits"] ?? 0) < 0) refuse(`${digits} digits are none`);
  const formula = { kind: known, sources, rows, digits, ddof, scale };
  const problem = sources.length !== needed ? `needs ${needed} columns` : problemOf(formula);
  return problem === undefined ? formula : refuse(problem);
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;

function problemOf({ rows, digits, ddof, scale, kind }: Formula): string | undefined {
  if (!Number.isInteger(rows) || rows < 1 || rows > RECIPE_ROWS_MAX) {
    return `${rows} rows are none or over ${RECIPE_ROWS_MAX}`;
  }
  if (!Number.isInteger(digits) || digits < -1 || digits > DIGITS_MAX)
    return `${digits} digits are over ${DIGITS_MAX}`;
  if (ddof !== 0 && ddof !== 1) return `ddof ${ddof} is neither 0 nor 1`;
  if (kind === "zscore" || kind === "bollinger" || kind === "volatility") {
    if (rows <= ddof) return "the window is too short";
  }
  return Number.isFinite(scale) ? undefined : "its factor is no number";
}

/** kind u8 | sources u8, dependency varint and whether its source u8, each | rows varint | digits + 1, ddof u8 | scale f64. */
export function writeFormula(sink: ByteSink, formula: Formula, numberOf: (column: string) => number): void {
  sink.u8(KINDS.indexOf(formula.kind)).u8(formula.sources.length);
  for (const source of formula.sources) {
    sink.varint(numberOf(columnOf(source))).u8(source.endsWith(SOURCE_SUFFIX) ? 1 : 0);
  }
  sink
    .varint(formula.rows)
    .u8(formula.digits + 1)
    .u8(formula.ddof);
  sink.bytes(new Uint8Array(Float64Array.of(formula.scale).buffer));
}

export function readFormula(source: ByteSource, dependencies: readonly string[]): Formula {
  const kind = KINDS[source.u8()];
  if (kind === undefined) throw source.corrupt("an unknown formula");
  const count = source.u8();
  const sources: string[] = [];
  for (let i = 0; i < count; i++) {
    const name = dependencies[source.varint(dependencies.length - 1)]!;
    sources.push(source.u8() === 1 ? name + SOURCE_SUFFIX : name);
  }
  const rows = source.varint(RECIPE_ROWS_MAX);
  const digits = source.u8() - 1;
  const ddof = source.u8();
  const bytes = source.bytes(8);
  const scale = new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0, true);
  const formula = { kind, sources, rows, digits, ddof, scale };
  const stored = digits >= 0;
  const needed = { macd: 2, ema: stored ? 0 : 1, range: stored ? 1 : 3 }[kind as string] ?? 1;
  const problem = count === needed ? problemOf(formula) : `${count} sources of a ${kind}`;
  if (problem !== undefined) throw source.corrupt(problem);
  return formula;
}

/** The column that a source names. */
export const columnOf = (source: string) =>
  source.endsWith(SOURCE_SUFFIX) ? source.slice(0, -SOURCE_SUFFIX.length) : source;

/** A formula for people: `ema(12) of close`. */
export function formulaName({ kind, sources, rows, digits }: Formula): string {
  const span = kind === "macd" || kind === "logReturn" || kind === "range" ? "" : `(${rows})`;
  const of = sources.length > 0 ? ` of ${sources.join(", ")}` : "";
  return `${kind}${span}${of}${digits >= 0 ? ` with its own source(${digits})` : ""}`;
}
