import { UsageError } from "./exit-codes.ts";
import type { Moment } from "./library.ts";

const DATE = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?)?(Z|[+-]\d\d:\d\d)?$/;

/** `2026-11-22 22:08:50Z` and shorter forms as microseconds; times are UTC unless they say otherwise. */
export function parseTimeUs(flag: string, text: string, also = ""): bigint {
  if (/^\d{14,18}$/.test(text)) return BigInt(text);
  const match = DATE.exec(text);
  if (match !== null) {
    const [, day, minute = "00:00", second = "00", fraction = "", zone = "Z"] = match;
    const ms = Date.parse(`${day}T${minute}:${second}${zone}`);
    if (Number.isFinite(ms)) return BigInt(ms) * 1000n + BigInt(fraction.padEnd(6, "0"));
  }
  throw new UsageError(
    `${flag} takes ${also}a time like 2026-11-22T22:08:50Z or microseconds since 1970, not ${JSON.stringify(text)}`,
  );
}

/** An LSN (a number of up to 14 digits below 10¹⁴) or a time. */
export function parseMoment(what: string, text: string): Moment {
  if (/^\d+$/.test(text) && BigInt(text) < 100_000_000_000_000n) return { lsn: BigInt(text) };
  return { timeUs: parseTimeUs(what, text, "an LSN, ") };
}

const UNIT_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `500ms`, `30s`, `15m`, `24h`, `7d` from now on, as microseconds. */
export function parseFromNowUs(flag: string, text: string): bigint {
  const match = /^(\d+)(ms|s|m|h|d)$/.exec(text);
  if (match === null) {
    throw new UsageError(`${flag} takes a duration like 30s, 15m, 24h or 7d, not ${JSON.stringify(text)}`);
  }
  return (BigInt(Date.now()) + BigInt(match[1]!) * BigInt(UNIT_MS[match[2]!]!)) * 1000n;
}
