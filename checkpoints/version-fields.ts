import { StoreError } from "../src/errors.ts";
import { METADATA_ENTRIES_MAX, RESUME_BYTES_MAX } from "../src/limits.ts";
import { checkName } from "../src/names.ts";
import { BYTES, CALLBACK, checkOptions, FLAG, OBJECT, SIGNAL } from "../src/options.ts";
import { checkOptimizer } from "./optimizer/settings.ts";
import type { SaveOptions } from "./save.ts";

/** Checks of what a caller says about a version; each error names the field and what it may be. */

export function checkStep(step: number | undefined): void {
  if (step !== undefined && (!Number.isSafeInteger(step) || step < 0)) {
    throw invalid("step", step, "a step is a whole number from 0 to 2^53 - 1");
  }
}

export function checkMetrics(metrics: Record<string, number>): void {
  checkCount("metrics", metrics);
  for (const [name, value] of Object.entries(metrics)) {
    if (name === "") throw invalid("metrics", name, "a metric has a name");
    if (typeof value !== "number" || !Number.isFinite(value)) {
      throw invalid(`metric ${name}`, value, "a metric is a finite number");
    }
  }
}

export function checkMetadata(metadata: Record<string, string>): void {
  checkCount("metadata", metadata);
  for (const [name, value] of Object.entries(metadata)) {
    if (typeof value !== "string") throw invalid(`metadata ${name}`, value, "metadata values are texts");
  }
}

function checkCount(what: string, entries: Record<string, unknown>): void {
  const count = Object.keys(entries).length;
  if (count > METADATA_ENTRIES_MAX)
    throw limitError(`the number of ${what} entries`, count, METADATA_ENTRIES_MAX);
}

function limitError(what: string, value: number, limit: number): StoreError {
  return new StoreError("ERR_LIMIT", `${what} is ${value}; the limit is ${limit}`, {
    context: { value, limit },
  });
}

function invalid(field: string, value: unknown, rule: string): StoreError {
  return new StoreError("ERR_INVALID_ARGUMENT", `${field}: ${String(value)} will not do; ${rule}`, {
    context: { field, value: String(value) },
  });
}

const SAVE_RULES = {
  metrics: OBJECT,
  metadata: OBJECT,
  resume: BYTES,
  signal: SIGNAL,
  strict: FLAG,
  onProgress: CALLBACK,
  touched: {
    may: "an array of { tensor, rows }",
    allows: (value: unknown) =>
      Array.isArray(value) && value.every((each) => typeof each === "object" && each !== null),
  },
};

/** @throws `ERR_INVALID_ARGUMENT`, `ERR_LIMIT` for fields that no version can have */
export function checkSave(ref: string, request: SaveOptions): void {
  checkName("ref", ref);
  checkOptions("save", request, SAVE_RULES);
  checkStep(request.step);
  checkMetrics(request.metrics ?? {});
  checkMetadata(request.metadata ?? {});
  const { onPressure = "wait", profile = "compact" } = request;
  if (profile !== "compact" && profile !== "fast") {
    throw invalid("profile", profile, 'it is "compact" or "fast"');
  }
  if (onPressure !== "wait" && onPressure !== "skip") {
    throw invalid("onPressure", onPressure, 'it is "wait" or "skip"');
  }
  if (request.optimizer !== undefined) checkOptimizer(request.optimizer);
  if (request.resume !== undefined && request.resume.byteLength > RESUME_BYTES_MAX) {
    throw limitError("the resume blob", request.resume.byteLength, RESUME_BYTES_MAX);
  }
}

/** The step that a file's own metadata name, if one does. */
export function stepIn(metadata: ReadonlyMap<string, string>[]): number | undefined {
  for (const entries of metadata) {
    const text = entries.get("step");
    if (text !== undefined && /^\d{1,15}$/.test(text)) return Number(text);
  }
  return undefined;
}
