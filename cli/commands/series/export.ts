import type { Command } from "commander";
import { parseChoice } from "../../arguments.ts";
import type { SeriesExportOptions } from "../../library.ts";
import { writeOutputStream } from "../../output-stream.ts";
import { formatBytes, plural } from "../../render/quantities.ts";
import { printable } from "../../render/text.ts";
import type { Session } from "../../session.ts";
import { addRowFlags, type RowFlags, readRange } from "./rows.ts";

const FORMATS = ["arrow", "parquet", "csv", "ndjson"] as const;
const ENDINGS: Record<string, (typeof FORMATS)[number]> = {
  arrow: "arrow",
  feather: "arrow",
  parquet: "parquet",
  csv: "csv",
  ndjson: "ndjson",
  jsonl: "ndjson",
};

interface ExportFlags extends RowFlags {
  out: string;
  format?: string;
  force?: boolean;
}

/** `varve series export NAME --out FILE`: rows as a plain file of another tool. */
export function addExport(series: Command, session: Session): void {
  addRowFlags(
    series
      .command("export")
      .description(
        "write rows as plain Arrow IPC, Parquet, CSV or NDJSON (a name ending in .gz or .zst compresses text)",
      )
      .argument("<name>"),
  )
    .requiredOption("--out <file>", "where to write")
    .option("--format <format>", "arrow, parquet, csv or ndjson (default: by the file's name, else csv)")
    .option("--force", "overwrite what is there")
    .action(async (name: string, flags: ExportFlags) => {
      const { out } = flags;
      const format =
        flags.format === undefined ? formatOf(out) : parseChoice("--format", flags.format, FORMATS);
      let rows = 0;
      const size = await session.withStore({ readOnly: true }, async (store) => {
        const options: SeriesExportOptions = {
          ...readRange(flags, store.series.open(name, { readOnly: true })),
          format,
          compression: /\.gz$/.test(out) ? "gzip" : /\.zst$/.test(out) ? "zstd" : "none",
          signal: session.signal,
          onRows: (count) => {
            rows += count;
          },
        };
        return writeOutputStream(out, store.exportSeries(name, options), flags.force === true);
      });
      session.done(
        { series: name, out, format, rows, sizeBytes: size },
        () => `${printable(name)}: ${plural(rows, "row")} in ${printable(out)} (${formatBytes(size)})\n`,
      );
    });
}

function formatOf(path: string): (typeof FORMATS)[number] {
  const ending = /\.([a-z]+)(?:\.(?:gz|zst))?$/i.exec(path)?.[1]?.toLowerCase() ?? "";
  return ENDINGS[ending] ?? "csv";
}
