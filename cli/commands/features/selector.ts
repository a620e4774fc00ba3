import { UsageError } from "../../exit-codes.ts";
import type { FeatureSelection } from "../../library.ts";

/** `NAME` or `NAME@12`, and `--as-of`: which version of a feature table. */
export function parseSelection(text: string, asOf: string | undefined): { name: string } & FeatureSelection {
  const at = text.lastIndexOf("@");
  if (asOf !== undefined && at >= 0) throw new UsageError("name a version or an instant, not both");
  if (asOf !== undefined) return { name: text, asOf: parseInstant("--as-of", asOf) };
  if (at < 0) return { name: text };
  const version = text.slice(at + 1);
  if (version === "latest") return { name: text.slice(0, at) };
  if (!/^[1-9]\d{0,8}$/.test(version)) {
    throw new UsageError(`${JSON.stringify(text)}: a version is a number, as in NAME@12`);
  }
  return { name: text.slice(0, at), version: Number(version) };
}

/** An instant in microseconds since 1970: digits, or a date as ISO 8601 has it. */
export function parseInstant(flag: string, text: string): bigint {
  if (/^\d{1,16}$/.test(text)) return BigInt(text);
  const ms = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d)?)?$/.test(text)
    ? Date.parse(text)
    : Number.NaN;
  if (Number.isNaN(ms) || ms < 0) {
    throw new UsageError(
      `${flag} takes microseconds since 1970 or a time such as 2026-01-31T12:00:00Z, not ${JSON.stringify(text)}`,
    );
  }
  return BigInt(ms) * 1000n;
}
