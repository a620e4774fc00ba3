import type { Table } from "../../formats/tables/table.ts";

const rows = 40;
const words = Buffer.from("x".repeat(rows));
/** Forty rows of floats, integers and texts: what damaged files were before. */
export const smallTable: Table = {
  rows,
  columns: [
    { name: "a", type: "f64", rows, values: Float64Array.from({ length: rows }, (_, at) => at / 7) },
    { name: "b", type: "i64", rows, values: BigInt64Array.from({ length: rows }, (_, at) => BigInt(at)) },
    {
      name: "s",
      type: "utf8",
      rows,
      values: new Uint8Array(words),
      offsets: Int32Array.from({ length: rows + 1 }, (_, at) => at),
    },
  ],
};
