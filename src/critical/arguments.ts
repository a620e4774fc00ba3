import { StoreError } from "../errors.ts";
import { KEY_BYTES_MAX } from "../limits.ts";

const TIME_MAX = 2n ** 53n;

/** @throws ERR_INVALID_ARGUMENT, ERR_LIMIT */
export function checkKey(key: unknown): asserts key is string {
  if (typeof key !== "string" || key.length === 0) {
    throw new StoreError("ERR_INVALID_ARGUMENT", "a key must be a string of at least one character");
  }
  const maybeLong = key.length * 3 > KEY_BYTES_MAX;
  if (maybeLong && Buffer.byteLength(key) > KEY_BYTES_MAX) {
    throw new StoreError("ERR_LIMIT", `a key of ${Buffer.byteLength(key)} bytes is over the limit`, {
      context: { limitBytes: KEY_BYTES_MAX },
      hint: `A key may take ${KEY_BYTES_MAX} bytes in UTF-8; use its digest as the key.`,
    });
  }
  if (!(key as unknown as { isWellFormed(): boolean }).isWellFormed()) {
    throw new StoreError("ERR_INVALID_ARGUMENT", "a key may not contain a lone surrogate");
  }
}

const BOUNDS = ["from", "to", "prefix"] as const;
const RANGE_OPTIONS: readonly string[] = [...BOUNDS, "reverse", "limit"];

/** An option that is misspelled, or no bound, would quietly mean the whole map. @throws ERR_INVALID_ARGUMENT */
export function checkRange(range: object): void {
  const wrong = wrongOf(range as Record<string, unknown>);
  if (wrong === undefined) return;
  throw new StoreError("ERR_INVALID_ARGUMENT", `a range of keys: ${wrong}`, {
    hint: "It takes from, to and prefix (strings), reverse (true or false) and limit (a number, 0 or more).",
  });
}

function wrongOf(range: Record<string, unknown>): string | undefined {
  if (typeof range !== "object" || range === null) return `${String(range)} is none`;
  for (const name of Object.keys(range)) if (!RANGE_OPTIONS.includes(name)) return `unknown option ${name}`;
  for (const name of BOUNDS) {
    if (range[name] !== undefined && typeof range[name] !== "string") return `${name} must be a string`;
  }
  const { reverse, limit } = range;
  if (reverse !== undefined && typeof reverse !== "boolean") return "reverse must be true or false";
  if (limit === undefined || (typeof limit === "number" && limit >= 0)) return undefined;
  return `limit must be a number, 0 or more, not ${String(limit)}`;
}

/** An expiry as a number of microseconds. @throws ERR_INVALID_ARGUMENT */
export function checkTime(timeUs: unknown): number {
  if (typeof timeUs === "bigint" && timeUs > 0n && timeUs < TIME_MAX) return Number(timeUs);
  throw new StoreError(
    "ERR_INVALID_ARGUMENT",
    "expiresAtUs must be a bigint of microseconds since the Unix epoch",
    {
      context: { expiresAtUs: String(timeUs) },
    },
  );
}

/** What a counter becomes. @throws ERR_LIMIT, ERR_INVALID_ARGUMENT */
export function counted(map: string, key: string, current: unknown, by: unknown): number | bigint {
  const kind = typeof (by ?? current ?? 0);
  const start = current ?? (kind === "bigint" ? 0n : 0);
  const step = by ?? (typeof start === "bigint" ? 1n : 1);
  if (typeof start === "bigint" && typeof step === "bigint") return start + step;
  if (typeof start === "number" && typeof step === "number") {
    const sum = start + step;
    if (Number.isSafeInteger(sum)) return sum;
    throw new StoreError("ERR_LIMIT", `map ${map}: counter ${key} would become ${sum}`, {
      context: { map, key },
      hint: "Number counters hold whole numbers below 2^53; use bigints for more.",
    });
  }
  throw new StoreError(
    "ERR_INVALID_ARGUMENT",
    `map ${map}: cannot add a ${typeof step} to ${key}, which is a ${typeof start}`,
    { context: { map, key } },
  );
}
