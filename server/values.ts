import { badRequest } from "./failure.ts";

/**
 * Values of critical maps as JSON: what JSON lacks goes as an object of one field, `{"$bigint": "123"}` for a bigint,
 * `{"$bytes": "base64"}` for bytes, `{"$number": "NaN"}` for a number that JSON has no way to write.
 */
export function writeValue(value: unknown): unknown {
  if (typeof value === "bigint") return { $bigint: value.toString() };
  if (typeof value === "number" && (!Number.isFinite(value) || Object.is(value, -0))) {
    return { $number: Object.is(value, -0) ? "-0" : String(value) };
  }
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString("base64") };
  if (Array.isArray(value)) return value.map(writeValue);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, writeValue(item)]));
}

/** Nesting is bounded where the value is encoded (`VALUE_DEPTH_MAX`); this only keeps the stack from running out. */
const DEPTH_MAX = 256;

export function readValue(value: unknown, depth = 0): unknown {
  if (depth > DEPTH_MAX) throw badRequest("a value nested too deep");
  if (Array.isArray(value)) return value.map((item) => readValue(item, depth + 1));
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value);
  const [only] = entries;
  if (entries.length === 1 && only![0].startsWith("$")) return special(only![0], only![1]);
  return Object.fromEntries(entries.map(([key, item]) => [key, readValue(item, depth + 1)]));
}

function special(kind: string, text: unknown): unknown {
  if (kind === "$bigint" && typeof text === "string" && /^-?\d{1,20}$/.test(text)) return BigInt(text);
  if (kind === "$bytes" && typeof text === "string") return new Uint8Array(Buffer.from(text, "base64"));
  if (kind === "$number" && typeof text === "string" && /^(NaN|-?Infinity|-0)$/.test(text))
    return Number(text);
  throw badRequest(`${kind} is no kind of value, or has another content`);
}
