import { inspect } from "node:util";
import { StoreError } from "./errors.ts";

/** What an option may be, in words, and whether a value is that. */
export interface OptionRule {
  readonly may: string;
  readonly allows: (value: unknown) => boolean;
}

export const FLAG: OptionRule = { may: "true or false", allows: (value) => typeof value === "boolean" };
export const TEXT: OptionRule = { may: "a text", allows: (value) => typeof value === "string" };
export const CALLBACK: OptionRule = { may: "a function", allows: (value) => typeof value === "function" };
export const OBJECT: OptionRule = {
  may: "an object",
  allows: (value) => typeof value === "object" && value !== null,
};
export const SIGNAL: OptionRule = {
  may: "an AbortSignal",
  allows: (value) => typeof (value as AbortSignal | null)?.addEventListener === "function",
};
export const BYTES: OptionRule = {
  may: "a Uint8Array",
  allows: (value) => value instanceof Uint8Array,
};
/** Bytes, milliseconds or how many. */
export const AMOUNT: OptionRule = {
  may: "a number from 0 on; Infinity sets no limit",
  allows: (value) => typeof value === "number" && value >= 0,
};
/** Bytes a second. */
export const RATE: OptionRule = {
  may: "a number of bytes a second above 0; Infinity is as fast as the disk takes it",
  allows: (value) => typeof value === "number" && value > 0,
};

export function whole(least: number, most = Number.MAX_SAFE_INTEGER): OptionRule {
  const range = most === Number.MAX_SAFE_INTEGER ? `from ${least} on` : `from ${least} to ${most}`;
  return {
    may: `a whole number ${range}`,
    allows: (value) => Number.isSafeInteger(value) && Number(value) >= least && Number(value) <= most,
  };
}

/**
 * Refuses options that are not what they may be, before any of them has done anything. What is `undefined` is not given.
 * @param of the call they are given to, named in the error
 * @throws `ERR_INVALID_ARGUMENT` naming the option, its value and what it may be
 */
export function checkOptions<Options extends object>(
  of: string,
  given: Options,
  rules: { readonly [Name in keyof Options]?: OptionRule },
): void {
  if (typeof given !== "object" || given === null) {
    throw invalid(`the options of ${of}`, given, "an object");
  }
  for (const [name, rule] of Object.entries(rules) as [keyof Options & string, OptionRule][]) {
    const value = given[name];
    if (value !== undefined && !rule.allows(value)) throw invalid(`${of}: ${name}`, value, rule.may);
  }
}

function invalid(what: string, value: unknown, may: string): StoreError {
  const shown = inspect(value, { depth: 0, breakLength: Number.POSITIVE_INFINITY }).slice(0, 80);
  return new StoreError("ERR_INVALID_ARGUMENT", `${what} is ${shown}; it is ${may}`, {
    context: { option: what, value: shown },
  });
}
