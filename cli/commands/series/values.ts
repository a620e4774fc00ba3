import type { SeriesRow } from "../../library.ts";

type Value = SeriesRow["values"][string];

/**
 * A value as JSON holds it without loss: 64-bit integers, NaN, infinities and -0 as text, bytes in hexadecimal after
 * `0x`.
 */
function jsonValue(value: Value): unknown {
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number")
    return Number.isFinite(value) && !Object.is(value, -0) ? value : floatText(value);
  if (value instanceof Uint8Array) return `0x${Buffer.from(value).toString("hex")}`;
  if (ArrayBuffer.isView(value)) return Array.from(value as Float64Array, (each) => jsonValue(each));
  return value;
}

export function jsonRow({ row, tsNs, values }: SeriesRow): unknown {
  const shown = Object.entries(values).map(([name, value]) => [name, jsonValue(value)]);
  return { row, ...(tsNs !== undefined && { tsNs: tsNs.toString() }), values: Object.fromEntries(shown) };
}

/** A value for people. */
export function valueText(value: Value): string {
  const json = jsonValue(value);
  if (json === null) return "–";
  return typeof json === "object" ? JSON.stringify(json) : String(json);
}

function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (Object.is(value, -0)) return "-0.0";
  return value > 0 ? "inf" : "-inf";
}
