import { StoreError } from "../src/errors.ts";
import { nearestNames } from "../src/names.ts";
import type { Registry, VersionRecord } from "./registry.ts";

/**
 * Finds the version a text names: `REF` or `REF@SELECTOR`, where the selector is a version number, `latest`, a tag,
 * `step:N`, or `best:METRIC` (the smallest value; `best:METRIC:max` for the largest). Ties go to the newest.
 * @throws `ERR_NOT_FOUND` with the nearest names there are.
 */
export function resolveSelector(registry: Registry, text: string): VersionRecord {
  if (typeof text !== "string") {
    throw new StoreError("ERR_INVALID_ARGUMENT", `a selector is a text like "REF@12", not ${String(text)}`);
  }
  const at = text.indexOf("@");
  const ref = at < 0 ? text : text.slice(0, at);
  const selector = at < 0 ? "latest" : text.slice(at + 1);
  const versions = registry.versions(ref);
  const newest = versions.at(-1);
  if (newest === undefined) {
    throw new StoreError("ERR_NOT_FOUND", `${ref} has no versions`, { context: { ref } });
  }
  if (selector === "latest") return newest;
  if (/^\d{1,15}$/.test(selector)) return registry.require(ref, Number(selector));
  if (selector.startsWith("step:")) return byStep(ref, versions, selector.slice("step:".length));
  if (selector.startsWith("best:")) return best(ref, versions, selector.slice("best:".length));
  const tagged = registry.tagged(ref, selector);
  if (tagged !== undefined) return registry.require(ref, tagged);
  const tags = versions.flatMap((version) => version.tags);
  throw notFound(`${ref} has no tag ${JSON.stringify(selector)}`, nearestNames(selector, tags, 3), {
    ref,
    selector,
    otherwise: `Selectors are a version number, latest, a tag, step:N, best:METRIC and best:METRIC:max.`,
  });
}

function byStep(ref: string, versions: VersionRecord[], text: string): VersionRecord {
  const step = /^\d{1,15}$/.test(text) ? Number(text) : undefined;
  if (step === undefined) {
    throw new StoreError("ERR_INVALID_ARGUMENT", `step:${text} names no step`, {
      hint: "Write it as step:600.",
    });
  }
  const found = versions.findLast((version) => version.step === step);
  if (found !== undefined) return found;
  const steps = [...new Set(versions.flatMap((version) => version.step ?? []))];
  const nearest = steps.sort((a, b) => Math.abs(a - step) - Math.abs(b - step)).slice(0, 3);
  throw notFound(
    `${ref} has no version of step ${step}`,
    nearest.map((each) => `step:${each}`),
    {
      ref,
      selector: `step:${text}`,
      otherwise: "None of its versions was saved with a step.",
    },
  );
}

function best(ref: string, versions: VersionRecord[], text: string): VersionRecord {
  const mode = /:(min|max)$/.exec(text)?.[1] ?? "min";
  const metric = text.replace(/:(min|max)$/, "");
  let found: VersionRecord | undefined;
  for (const version of versions) {
    const value = version.metrics[metric];
    if (value === undefined || !Object.hasOwn(version.metrics, metric)) continue;
    const best = found?.metrics[metric];
    if (best === undefined || (mode === "min" ? value <= best : value >= best)) found = version;
  }
  if (found !== undefined) return found;
  const metrics = new Set(versions.flatMap((version) => Object.keys(version.metrics)));
  throw notFound(`no version of ${ref} has a metric ${JSON.stringify(metric)}`, [...metrics].slice(0, 5), {
    ref,
    selector: `best:${text}`,
    otherwise: "None of its versions was saved with metrics.",
  });
}

function notFound(
  message: string,
  nearest: string[],
  { otherwise, ...context }: { ref: string; selector: string; otherwise: string },
): StoreError {
  const hint = nearest.length > 0 ? `Did you mean ${nearest.join(", ")}?` : otherwise;
  return new StoreError("ERR_NOT_FOUND", message, { context: { ...context, nearest }, hint });
}
