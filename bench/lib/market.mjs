// The market data of the data folder as columns in Arrow's layout.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";

/** Files of `directory`/market with their columns, or undefined where there is no such folder. */
export function marketFiles(directory) {
  const folder = join(directory, "market");
  if (!existsSync(join(folder, "manifest.json"))) return undefined;
  const manifest = JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8"));
  return manifest.map(({ file, columns }) => ({
    file: join(folder, file),
    name: file.replace(/\.csv\.gz$/, ""),
    load: () => loadCsv(join(folder, file), columns),
  }));
}

function loadCsv(path, types) {
  const lines = gunzipSync(readFileSync(path)).toString().split("\n");
  const names = lines[0].trim().split(",");
  const rows = lines.length - 1 - (lines.at(-1) === "" ? 1 : 0);
  const columns = names.map((name) => {
    const said = types[name];
    const type = said.startsWith("ts_") ? "i64" : said;
    const values = { f64: Float64Array, i64: BigInt64Array, u8: Uint8Array }[type];
    return { name, type, rows, values: new values(rows) };
  });
  for (let row = 0; row < rows; row++) {
    const cells = lines[row + 1].trimEnd().split(",");
    columns.forEach(({ type, values }, i) => {
      const cell = cells[i];
      values[row] = type === "i64" ? BigInt(cell) : cell === "" || cell === "nan" ? Number.NaN : Number(cell);
    });
  }
  return columns;
}

/** Rows [from, to) of every column, without a copy. */
export function sliceRows(columns, from, to) {
  return columns.map((column) => ({ ...column, rows: to - from, values: column.values.subarray(from, to) }));
}
