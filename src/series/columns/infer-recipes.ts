import { RECIPE_CHAIN_MAX } from "../../limits.ts";
import { bitAt } from "./bitmap.ts";
import type { ColumnValues } from "./column.ts";
import { columnOf, formulaOf, type Recipe, SOURCE_SUFFIX } from "./recipe.ts";
import { recipesWithin } from "./recipe-check.ts";
import { differenceOfRange, emaWeight, predict, sourceOfAverage } from "./recipe-values.ts";

/** A recipe that fits a column, and what it leaves of a value on average, in bits of ulps. */
export interface FittingRecipe {
  column: string;
  recipe: Recipe;
  bits: number;
}

/** Rows after the first full window that formulas are compared on. */
const TRIAL_ROWS = 600;
/** Columns that begin later than this are not looked at. */
const LEADING_MAX = 5000;
/** What a formula may leave of a value, in bits: without one a computed double takes about 50. */
const BITS_MAX = 24;
/** Columns of a table that are looked at, so that the time stays in seconds. */
const COLUMNS_MAX = 64;
/** Spans and periods that are tried: all short ones, and longer ones that people choose. */
const SPANS = [
  ...Array.from({ length: 99 }, (_, i) => i + 2),
  ...[120, 144, 150, 168, 180, 200, 240, 250, 288, 300, 365, 500, 600, 720, 1000, 1440, 2880, 5000, 10_080],
];
const WIDTHS = [1, 1.5, 2, 2.5, 3];
/** What an own source takes beside the rest, in bits a value: about what prices take. */
const SOURCE_BITS = 8;

/** The first rows of a column; all trials of a table have one length. */
interface Trial {
  name: string;
  values: Float64Array;
  /** Rows before the first number. */
  leading: number;
  isDecimal: boolean;
}

/**
 * Finds, for each computed f64 column of a table, the recipe that leaves least of it, if there is one that leaves little.
 * Recipes never lead back to themselves.
 */
export function findRecipes(columns: readonly ColumnValues[]): FittingRecipe[] {
  const floats = columns
    .filter(({ type, rows }) => type === "f64" && rows >= 32)
    .slice(0, COLUMNS_MAX)
    .map(nullsAsNaN);
  const leading = floats.map(({ values }) => leadingNaNs(values as Float64Array));
  const length = Math.max(...leading.filter((rows) => rows <= LEADING_MAX), 0) + TRIAL_ROWS;
  const trials = floats.map(({ name, values }) => trialOf(name, values as Float64Array, length));
  // A mean of prices may be a decimal again; that it begins late gives it away.
  const computed = trials.filter(({ isDecimal, leading: rows }) => !isDecimal || rows > 0);
  const found = computed.flatMap((column) => fitsOf(column, trials));
  const averages = computed.flatMap(ownSource);
  const sources = averages.map(({ source }) => source);
  found.push(...averages.map(({ fit }) => fit));
  found.push(...computed.flatMap((column) => fitsOf(column, sources)));
  found.push(
    ...computed.flatMap((column) =>
      ownDifference(column, [...trials.filter((t) => t.isDecimal), ...sources]),
    ),
  );
  return withinChains(choose(found));
}

/** Whoever computes a column has no other word for what is missing than these two. */
function nullsAsNaN(column: ColumnValues): ColumnValues {
  const { values, validity } = column;
  if (validity === undefined) return column;
  const filled = (values as Float64Array).map((value, row) => (bitAt(validity, row) ? value : Number.NaN));
  return { ...column, values: filled };
}

/** Leaves out what follows from too many others in a row. */
function withinChains(fits: FittingRecipe[]): FittingRecipe[] {
  const recipes = new Map(fits.map(({ column, recipe }) => [column, recipe]));
  const chains = new Map<string, number>();
  const chainOf = (column: string): number => {
    const recipe = recipes.get(column);
    if (recipe === undefined) return 0;
    const known = chains.get(column);
    if (known !== undefined) return known;
    const { sources } = formulaOf(column, recipe);
    const chain = 1 + Math.max(0, ...sources.map((source) => chainOf(columnOf(source))));
    chains.set(column, chain);
    return chain;
  };
  const short = [...recipes].filter(([column]) => chainOf(column) <= RECIPE_CHAIN_MAX);
  const left = recipesWithin(Object.fromEntries(short), () => true);
  return fits.filter(({ column }) => Object.hasOwn(left, column));
}

function leadingNaNs(values: Float64Array): number {
  let leading = 0;
  while (leading < values.length && Number.isNaN(values[leading]!)) leading++;
  return leading;
}

function trialOf(name: string, values: Float64Array, length: number): Trial {
  const trial = values.slice(0, length);
  return { name, values: trial, leading: leadingNaNs(trial), isDecimal: digitsOf(trial) !== undefined };
}

/** Digits after the point that nearly all values have no more of. */
function digitsOf(values: Float64Array): number | undefined {
  const numbers = values.filter((value) => !Number.isNaN(value));
  if (numbers.length === 0) return undefined;
  for (let digits = 0; digits <= 10; digits++) {
    const scale = 10 ** digits;
    const wrong = numbers.filter((value) => Math.round(value * scale) / scale !== value).length;
    if (wrong <= numbers.length / 20) return digits;
  }
  return undefined;
}

/** Of the rows, every so-many-th is enough to see that a formula does not fit. */
const GLANCE_STRIDE = 19;

/** Bits that a prediction leaves of a value, on average; a row that only one of them has counts as a whole value. */
function bitsLeft(own: Float64Array, predicted: Float64Array): number {
  const glance = bitsLeftAt(own, predicted, GLANCE_STRIDE);
  return glance > 1.5 * BITS_MAX ? glance : bitsLeftAt(own, predicted, 1);
}

function bitsLeftAt(own: Float64Array, predicted: Float64Array, stride: number): number {
  let bits = 0;
  let rows = 0;
  for (let i = own.length - 1; i >= 0; i -= stride) {
    rows++;
    const value = own[i]!;
    const guess = predicted[i]!;
    if (value === guess || (Number.isNaN(value) && Number.isNaN(guess))) continue;
    const ulps = Math.abs(value - guess) / (Math.abs(value) * 2 ** -52);
    bits += Number.isFinite(ulps) ? Math.min(Math.log2(1 + ulps) + 1, 64) : 64;
  }
  return bits / rows;
}

/** Recipes of a column over each of the sources, and over pairs of them. */
function fitsOf(column: Trial, sources: readonly Trial[]): FittingRecipe[] {
  const fits: FittingRecipe[] = [];
  const others = sources.filter((source) => columnOf(source.name) !== column.name);
  const consider = (recipe: Recipe, over: readonly Trial[]) => {
    const predicted = predict(
      formulaOf(column.name, recipe),
      over.map(({ values }) => values),
      column.values,
    );
    const bits = bitsLeft(column.values, predicted);
    if (bits <= BITS_MAX) fits.push({ column: column.name, recipe, bits });
  };
  for (const source of others) {
    for (const recipe of recipesOver(column, source)) consider(recipe, [source]);
    for (const other of others) {
      if (other !== source && agree(column, source, other)) {
        consider({ macd: { fast: source.name, slow: other.name } }, [source, other]);
      }
    }
  }
  fits.push(
    ...rangesOf(
      column,
      others.filter(({ isDecimal }) => isDecimal),
    ),
  );
  return fits;
}

/** Whether a - b is the column in its last row, about: cheap enough for every pair. */
function agree(column: Trial, a: Trial, b: Trial): boolean {
  const last = column.values.length - 1;
  const difference = a.values[last]! - b.values[last]!;
  return Math.abs(column.values[last]! - difference) <= Math.abs(a.values[last]!) * 1e-9;
}

function* recipesOver(column: Trial, source: Trial): Iterable<Recipe> {
  const of = source.name;
  yield { logReturn: { of } };
  yield { return: { of, lag: Math.max(column.leading - source.leading, 1) } };
  for (const span of SPANS) {
    if (span > column.values.length) break;
    yield { ema: { of, span } };
    yield { rsi: { of, period: span } };
  }
  const window = column.leading - source.leading + 1;
  if (window < 2 || window > 10_080) return;
  yield { sma: { of, window } };
  yield { sum: { of, window } };
  for (const ddof of [0, 1]) {
    yield { zscore: { of, window, ddof } };
    for (const width of WIDTHS) yield { bollinger: { of, window, width, ddof } };
    const scale = scaleOf(column, source, window, ddof);
    if (scale !== undefined) yield { volatility: { of, window, ddof, scale } };
  }
}

/** The constant factor between a column and the plain deviation, if there is one: roots of whole numbers are exact. */
function scaleOf(column: Trial, source: Trial, window: number, ddof: number): number | undefined {
  const plain = formulaOf(column.name, { volatility: { of: source.name, window, ddof } });
  const deviations = predict(plain, [source.values]);
  const ratios = column.values
    .map((value, i) => value / deviations[i]!)
    .filter(Number.isFinite)
    .sort();
  if (ratios.length < 16) return undefined;
  const [low, middle, high] = [0.1, 0.5, 0.9].map((share) => ratios[Math.floor(ratios.length * share)]!);
  if (!(high! - low! <= Math.abs(middle!) * 1e-9) || middle === 0) return undefined;
  const square = Math.round(middle! * middle!);
  return Math.abs(middle! * middle! - square) < 1e-6 * square
    ? Math.sqrt(square) * Math.sign(middle!)
    : middle;
}

function rangesOf(column: Trial, sources: readonly Trial[]): FittingRecipe[] {
  const fits: FittingRecipe[] = [];
  const length = column.values.length;
  for (const high of sources) {
    for (const low of sources) {
      for (const of of sources) {
        if (high === low || high.values[length - 1]! < low.values[length - 1]!) continue;
        const recipe: Recipe = { range: { of: of.name, high: high.name, low: low.name } };
        const over = [of, high, low].map(({ values }) => values);
        const bits = bitsLeft(column.values, predict(formulaOf(column.name, recipe), over));
        if (bits <= BITS_MAX) fits.push({ column: column.name, recipe, bits });
      }
    }
  }
  return fits;
}

/** The span and digits with which a column is an average of decimals that can be worked out from it. */
function ownSource(column: Trial): { fit: FittingRecipe; source: Trial }[] {
  const { name, values, leading } = column;
  if (leading > 0) return [];
  for (const span of SPANS) {
    const alpha = emaWeight(span);
    const inverted = values.map((value, i) =>
      i === 0 ? value : (value - (1 - alpha) * values[i - 1]!) / alpha,
    );
    const digits = latticeOf(inverted.subarray(1), (2 / alpha) * 2 ** -52);
    if (digits === undefined) continue;
    const source = sourceOfAverage(values, span, digits);
    const recipe: Recipe = { ema: { span, digits } };
    const bits = SOURCE_BITS + bitsLeft(values, predict(formulaOf(name, recipe), [source], values));
    const trial = { name: name + SOURCE_SUFFIX, values: source, leading: 0, isDecimal: true };
    return [{ fit: { column: name, recipe, bits }, source: trial }];
  }
  return [];
}

/** The source over which a column is a difference of decimals. */
function ownDifference(column: Trial, sources: readonly Trial[]): FittingRecipe[] {
  const { name, values } = column;
  return sources.flatMap((source) => {
    if (columnOf(source.name) === name) return [];
    const of = source.values;
    const digits = latticeOf(
      values.map((value, i) => value * of[i]!),
      2 ** -50,
    );
    if (digits === undefined) return [];
    const recipe: Recipe = { range: { of: source.name, digits } };
    const difference = differenceOfRange(values, of, digits);
    const bits = SOURCE_BITS + bitsLeft(values, predict(formulaOf(name, recipe), [of, difference]));
    return bits <= BITS_MAX ? [{ column: name, recipe, bits }] : [];
  });
}

/** Digits after the point by which values that err by `noise` of themselves are decimals. */
function latticeOf(values: Float64Array, noise: number): number | undefined {
  let largest = 0;
  for (const value of values) {
    largest = Math.max(largest, Math.abs(value));
  }
  if (!Number.isFinite(largest) || values.length < 16) return undefined;
  for (let digits = 0; digits <= 8; digits++) {
    const scale = 10 ** digits;
    if (largest * noise * scale > 0.01) return undefined;
    const wrong = values.filter((value) => Math.abs(value * scale - Math.round(value * scale)) > 0.02).length;
    if (wrong > values.length / 20) continue;
    // All the same would fit anything.
    const first = Math.round(values[0]! * scale);
    if (values.every((value) => Math.round(value * scale) === first)) return undefined;
    // One digit more, where it is above the noise, for rows that were not looked at.
    return largest * noise * scale * 10 > 0.01 ? digits : digits + 1;
  }
  return undefined;
}

/** The best fits, one a column, none of which leads back to itself. */
function choose(found: FittingRecipe[]): FittingRecipe[] {
  const chosen = new Map<string, FittingRecipe>();
  const sourcesOf = ({ column, recipe }: FittingRecipe) => formulaOf(column, recipe).sources;
  const leadsTo = (from: string, to: string): boolean =>
    from === to ||
    (chosen.has(from) && sourcesOf(chosen.get(from)!).some((source) => leadsTo(columnOf(source), to)));
  const keepsSource = (source: string) => {
    const fit = chosen.get(columnOf(source));
    return fit !== undefined && formulaOf(fit.column, fit.recipe).digits >= 0;
  };
  const sorted = [...found].sort((a, b) => a.bits - b.bits);
  // One kept source is enough for all that follow from it: those are averages of it, not of sources of their own.
  for (const own of sorted.filter((fit) => sourcesOf(fit).length === 0)) {
    const isServed = sorted.some(
      (fit) =>
        fit.column === own.column &&
        fit.bits < own.bits &&
        sourcesOf(fit).every((source) => !source.endsWith(SOURCE_SUFFIX) || keepsSource(source)) &&
        "ema" in fit.recipe,
    );
    if (!isServed) chosen.set(own.column, own);
  }
  // Columns that have least to fall back on choose first: a difference of two averages is known by nothing else.
  const columns = [...new Set(sorted.map(({ column }) => column))];
  const regret = new Map(
    columns.map((column) => [column, regretOf(sorted.filter((fit) => fit.column === column))]),
  );
  columns.sort((a, b) => regret.get(b)! - regret.get(a)!);
  for (const column of columns) {
    if (chosen.has(column)) continue;
    const whole = sorted.find(
      (fit) =>
        fit.column === column &&
        sourcesOf(fit).every(
          (source) =>
            !leadsTo(columnOf(source), column) && (!source.endsWith(SOURCE_SUFFIX) || keepsSource(source)),
        ),
    );
    if (whole) chosen.set(column, whole);
  }
  return [...chosen.values()];
}

/** What a column loses without its best fit; the fits are sorted. */
function regretOf(fits: readonly FittingRecipe[]): number {
  return (fits[1]?.bits ?? 64) - fits[0]!.bits;
}
