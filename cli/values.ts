import { UsageError } from "./exit-codes.ts";

/**
 * Critical values as JSON and back. What JSON lacks is an object with one property whose name begins with a dollar:
 *
 *   {"$bigint": "123"}      a bigint
 *   {"$bytes": "AQID"}      a Uint8Array, in base64
 *   {"$number": "NaN"}      NaN, Infinity, -Infinity
 *   {"$undefined": true}    undefined
 *   {"$plain": {…}}         an object that would otherwise be read as one of these
 */
const TAGS = new Set(["$bigint", "$bytes", "$number", "$undefined", "$plain"]);

/** A value as plain JSON data. */
export function toJsonValue(value: unknown): unknown {
  if (typeof value === "bigint") return { $bigint: String(value) };
  if (typeof value === "number" && !Number.isFinite(value)) return { $number: String(value) };
  if (value === undefined) return { $undefined: true };
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString("base64") };
  if (Array.isArray(value)) return value.map(toJsonValue);
  const entries = Object.entries(value).map(([name, item]) => [name, toJsonValue(item)]);
  const object = Object.fromEntries(entries) as Record<string, unknown>;
  return tagOf(object) === undefined ? object : { $plain: object };
}

/** One line of JSON for a value. */
export function renderValue(value: unknown): string {
  return JSON.stringify(toJsonValue(value));
}

/** The value that a JSON text on the command line stands for. @throws UsageError */
export function parseValue(text: string): unknown {
  refuseRoundedNumbers(text);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new UsageError(
      `the value is not JSON: ${(cause as Error).message}`,
      `A text is written with its quotes: '"long"'. Others: 5, true, '{"max":"1000.00"}'.`,
    );
  }
  return fromJsonValue(json);
}

/** Data that came as JSON as the value it stands for. @throws UsageError */
function fromJsonValue(json: unknown): unknown {
  if (typeof json !== "object" || json === null) return json;
  if (Array.isArray(json)) return json.map(fromJsonValue);
  const object = json as Record<string, unknown>;
  const tag = tagOf(object);
  return tag === undefined ? plain(object) : tagged(tag, object[tag]);
}

function plain(object: Record<string, unknown>): unknown {
  return Object.fromEntries(Object.entries(object).map(([name, item]) => [name, fromJsonValue(item)]));
}

function tagOf(object: Record<string, unknown>): string | undefined {
  const names = Object.keys(object);
  return names.length === 1 && TAGS.has(names[0]!) ? names[0] : undefined;
}

function tagged(tag: string, body: unknown): unknown {
  const isText = typeof body === "string";
  if (tag === "$bigint" && isText && /^-?\d+$/.test(body)) return BigInt(body);
  if (tag === "$bytes" && isText && isBase64(body)) return new Uint8Array(Buffer.from(body, "base64"));
  if (tag === "$number" && isText && /^(NaN|-?Infinity)$/.test(body)) return Number(body);
  if (tag === "$undefined" && body === true) return undefined;
  if (tag === "$plain" && typeof body === "object" && body !== null && !Array.isArray(body)) {
    return plain(body as Record<string, unknown>);
  }
  throw new UsageError(
    `${JSON.stringify({ [tag]: body })} is no value`,
    `Written like {"$bigint":"123"}, {"$bytes":"AQID"} (base64), {"$number":"NaN"}, {"$undefined":true}, {"$plain":{…}}.`,
  );
}

const isBase64 = (text: string): boolean => Buffer.from(text, "base64").toString("base64") === text;

/** JSON would take 9007199254740993 and keep 9007199254740992. */
function refuseRoundedNumbers(text: string): void {
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g)) {
    if (!/^-?\d+$/.test(token) || Number.isSafeInteger(Number(token))) continue;
    throw new UsageError(
      `${token} does not fit a JSON number, which would round it`,
      `Write it as {"$bigint":"${token}"} or as a text.`,
    );
  }
}
