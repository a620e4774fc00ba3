import { bitAt, type Column } from "../tables/table.ts";

/**
 * Numbers as text that reads back to the same bits, as short as that allows. A float always shows that it is one
 * (`3602.0`, `1e+21`), so that a file read again has the same types.
 */

/** The text of one filled cell of numbers or bools. */
export type NumberFormatter = (row: number) => string;

export function numberFormatter(column: Column): NumberFormatter {
  const { type, values } = column;
  if (type === "bool") return (row) => (bitAt(values as Uint8Array, row) ? "true" : "false");
  if (type === "f64") {
    const words = new Uint32Array(values.buffer, values.byteOffset, values.length * 2);
    return (row) => {
      const value = values[row] as number;
      return Number.isNaN(value) ? nanText(words[row * 2 + 1]!, words[row * 2]!) : floatText(value);
    };
  }
  if (type === "f32") {
    const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
    return (row) => {
      const value = values[row] as number;
      return Number.isNaN(value) ? nan32Text(words[row]!) : float32Text(value);
    };
  }
  return (row) => String(values[row]);
}

/** JavaScript's own text of a double is the shortest that reads back (ECMA-262, Number::toString). */
function floatText(value: number): string {
  if (value === 0) return Object.is(value, -0) ? "-0.0" : "0.0";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const text = String(value);
  return Number.isInteger(value) && !text.includes("e") ? `${text}.0` : text;
}

function float32Text(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return floatText(value);
  for (let digits = 1; digits < 9; digits++) {
    const candidate = Number(value.toPrecision(digits));
    if (Math.fround(candidate) === value) return floatText(candidate);
  }
  return floatText(Number(value.toPrecision(9)));
}

const QUIET_HIGH = 0x7ff80000;

function nanText(high: number, low: number): string {
  if (high === QUIET_HIGH && low === 0) return "nan";
  const hex = (word: number) => word.toString(16).padStart(8, "0");
  return `nan(0x${hex(high)}${hex(low)})`;
}

/** As the double it widens to: the payload's bits move up. */
function nan32Text(word: number): string {
  const bits = (BigInt(word & 0x7fffff) << 29n) | 0x7ff0000000000000n | (BigInt(word >>> 31) << 63n);
  return nanText(Number(bits >> 32n), Number(bits & 0xffffffffn));
}

/** A list's numbers in brackets, as JSON has them but for floats it cannot write. */
export function listText(column: Column, row: number): string {
  const { type } = column;
  if (typeof type !== "object") return "";
  const { type: item, size } = type.fixedSizeList;
  const { unit: _, validity: __, ...rest } = column;
  const format = numberFormatter({ ...rest, type: item, rows: column.rows * size });
  return `[${Array.from({ length: size }, (_, at) => format(row * size + at)).join(",")}]`;
}
