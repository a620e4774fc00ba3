import { UsageError } from "./exit-codes.ts";

/** The one reading of each kind of flag value. All throw `UsageError` naming the flag. */

/** A whole number from `least` to 2^53 - 1, digits alone. */
export function parseWhole(flag: string, text: string, least = 0): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < least) {
    throw new UsageError(`${flag} takes a whole number of at least ${least}, not ${JSON.stringify(text)}`);
  }
  return value;
}

/** A finite decimal number: `0.25`, `-3`, `1e-4`. */
export function parseFinite(flag: string, text: string): number {
  const value = Number(text);
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) || !Number.isFinite(value)) {
    throw new UsageError(`${flag} takes a finite number, not ${JSON.stringify(text)}`);
  }
  return value;
}

/** `k=v` pairs: the first `=` ends the key, which may not be empty or come twice. */
export function parsePairs(flag: string, texts: readonly string[]): [key: string, value: string][] {
  const keys = new Set<string>();
  return texts.map((text) => {
    const at = text.indexOf("=");
    if (at < 1) throw new UsageError(`${flag} takes KEY=VALUE, not ${JSON.stringify(text)}`);
    const key = text.slice(0, at);
    if (keys.has(key)) throw new UsageError(`${flag} has the key ${JSON.stringify(key)} twice`);
    keys.add(key);
    return [key, text.slice(at + 1)];
  });
}

/** `--metric k=v`…; own properties whatever the keys are. */
export function parseMetrics(texts: readonly string[]): Record<string, number> {
  const pairs = parsePairs("--metric", texts);
  return Object.fromEntries(pairs.map(([key, text]) => [key, parseFinite(`--metric ${key}`, text)]));
}

/** `--meta k=v`…; own properties whatever the keys are. */
export function parseMetadata(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(parsePairs("--meta", texts));
}

/** `METRIC`, `METRIC:min` or `METRIC:max`; the least is best unless told otherwise. */
export function parseBest(flag: string, text: string): { metric: string; mode: "min" | "max" } {
  const at = text.lastIndexOf(":");
  const metric = at < 0 ? text : text.slice(0, at);
  const mode = at < 0 ? "min" : text.slice(at + 1);
  if (metric === "" || (mode !== "min" && mode !== "max")) {
    throw new UsageError(`${flag} takes METRIC, METRIC:min or METRIC:max, not ${JSON.stringify(text)}`);
  }
  return { metric, mode };
}

/** One of these words. */
export function parseChoice<Choice extends string>(
  flag: string,
  text: string,
  choices: readonly Choice[],
): Choice {
  const found = choices.find((choice) => choice === text);
  if (found === undefined) {
    throw new UsageError(`${flag} takes ${choices.join(" or ")}, not ${JSON.stringify(text)}`);
  }
  return found;
}

/** For a flag that may come several times. */
export function collect(value: string, previous: string[] | undefined): string[] {
  return [...(previous ?? []), value];
}

/** The same object without the fields that are `undefined`: an absent flag is an absent option. */
export function given<T extends object>(options: T): Given<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Given<T>;
}

type Given<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};
