import { StoreError } from "../src/errors.ts";
import type { VersionRecord } from "./registry.ts";

export interface PruneOptions {
  /** Keep the newest N. */
  keepLast?: number;
  /** Keep, of every N steps, the first version at or after each multiple of N. */
  keepEvery?: number;
  /** Keep the version with the best value of a metric. */
  keepBest?: { metric: string; mode: "min" | "max" };
  /** Tagged versions always stay; given alone, this keeps only them and the current version. */
  keepTags?: boolean;
  /** Say what would go, and change nothing. */
  dryRun?: boolean;
}

export interface PruneResult {
  ref: string;
  kept: number[];
  pruned: number[];
}

/**
 * Which versions stay: those any rule keeps, the current one, and tagged ones.
 * @param versions of one ref, oldest first
 * @throws `ERR_INVALID_ARGUMENT` without a rule: pruning everything is never what was meant; `ERR_NOT_FOUND` when the best
 * is to stay by a metric that no version has
 */
export function planPrune(
  versions: VersionRecord[],
  options: PruneOptions,
): { kept: number[]; pruned: number[] } {
  checkRules(options);
  const kept = new Set<number>();
  const newest = versions.at(-1);
  if (newest !== undefined) kept.add(newest.version);
  for (const { version, tags } of versions) if (tags.length > 0) kept.add(version);
  if (options.keepLast !== undefined) {
    for (const { version } of versions.slice(-options.keepLast)) kept.add(version);
  }
  if (options.keepEvery !== undefined) {
    for (const version of firstOfEach(versions, options.keepEvery)) kept.add(version);
  }
  if (options.keepBest !== undefined) {
    const best = bestOf(versions, options.keepBest);
    if (best === undefined && versions.length > 1) throw noMetric(options.keepBest.metric, versions);
    if (best !== undefined) kept.add(best);
  }
  const numbers = versions.map(({ version }) => version);
  return {
    kept: numbers.filter((version) => kept.has(version)),
    pruned: numbers.filter((version) => !kept.has(version)),
  };
}

const MODES: ReadonlySet<unknown> = new Set(["min", "max"]);

function noMetric(metric: string, versions: VersionRecord[]): StoreError {
  const known = new Set(versions.flatMap(({ metrics }) => Object.keys(metrics)));
  const near = [...known].slice(0, 5);
  return new StoreError("ERR_NOT_FOUND", `no version has a metric ${JSON.stringify(metric)}`, {
    context: { metric },
    hint: near.length > 0 ? `They have: ${near.join(", ")}.` : "They were saved without metrics.",
  });
}

function checkRules({ keepLast, keepEvery, keepBest, keepTags }: PruneOptions): void {
  for (const [rule, value] of Object.entries({ keepLast, keepEvery })) {
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 1)) {
      throw new StoreError("ERR_INVALID_ARGUMENT", `${rule} is ${value}; it is a whole number from 1`, {
        context: { rule, value },
      });
    }
  }
  if (keepBest !== undefined && (typeof keepBest?.metric !== "string" || !MODES.has(keepBest.mode))) {
    throw new StoreError(
      "ERR_INVALID_ARGUMENT",
      'keepBest is { metric, mode }: a metric\'s name, and "min" or "max"',
    );
  }
  if (keepLast === undefined && keepEvery === undefined && keepBest === undefined && !keepTags) {
    throw new StoreError("ERR_INVALID_ARGUMENT", "prune needs a rule that says what to keep", {
      hint: "Give one or more of keep-last N, keep-every STEPS, keep-best METRIC:min|max, keep-tags.",
    });
  }
}

/** Versions without a step have no place in a rhythm of steps and are kept by other rules alone. */
function firstOfEach(versions: VersionRecord[], every: number): number[] {
  const seen = new Set<number>();
  return versions.flatMap(({ version, step }) => {
    if (step === undefined) return [];
    const interval = Math.floor(step / every);
    if (seen.has(interval)) return [];
    seen.add(interval);
    return [version];
  });
}

function bestOf(versions: VersionRecord[], { metric, mode }: { metric: string; mode: "min" | "max" }) {
  let best: { version: number; value: number } | undefined;
  for (const { version, metrics } of versions) {
    if (!Object.hasOwn(metrics, metric)) continue;
    const value = metrics[metric]!;
    if (best === undefined || (mode === "min" ? value <= best.value : value >= best.value))
      best = { version, value };
  }
  return best?.version;
}
