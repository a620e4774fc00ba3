import { UsageError } from "../../exit-codes.ts";
import type { Series } from "../../library.ts";

const UNIT_NS: Record<string, bigint> = { ns: 1n, us: 1_000n, ms: 1_000_000n, s: 1_000_000_000n };

/** As many digits as a time in nanoseconds has had since 1973; no other unit has them before the year 5000. */
const NANOSECOND_DIGITS = 18;

/**
 * A time of a series as nanoseconds. A whole number counts in the unit of the series' own time column, with 18 digits
 * or more always nanoseconds; a unit may follow it (`1723161255s`). Else a date of ISO 8601 (`2024-08-09T00:00:00Z`).
 */
export function parseTime(flag: string, text: string, series: Series): bigint {
  const type = series.columns.find(({ name }) => name === series.key)?.type;
  const number = /^(-?\d+)(ns|us|ms|s)?$/.exec(text);
  if (number !== null) {
    const [, digits, unit] = number as unknown as [string, string, string | undefined];
    const isNs = digits.replace("-", "").length >= NANOSECOND_DIGITS;
    // A counter's numbers have no unit.
    const own = isNs || type === undefined || !type.startsWith("ts_") ? "ns" : type.slice(3);
    return BigInt(digits) * UNIT_NS[unit ?? own]!;
  }
  const date = /^\d{4}-\d\d-\d\d(?:[T ][\d:.]+(?:Z|[+-]\d\d:\d\d)?)?$/.test(text) ? isoNs(text) : undefined;
  if (date !== undefined) return date;
  throw new UsageError(
    `${flag} takes a time: a whole number or a date such as 2024-08-09T00:00:00Z, not ${JSON.stringify(text)}`,
  );
}

/** A date with up to nine digits of a second; without a zone it is UTC. */
function isoNs(text: string): bigint | undefined {
  const [, whole, fraction = "", zone = "Z"] =
    /^([\dT: -]*?\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?$/.exec(text) ?? [];
  if (whole === undefined) return undefined;
  const full = whole.length === 10 ? `${whole}T00:00:00` : whole.replace(" ", "T");
  const ms = Date.parse(`${full}${zone}`);
  return Number.isNaN(ms) ? undefined : BigInt(ms) * 1_000_000n + BigInt(fraction.padEnd(9, "0"));
}
