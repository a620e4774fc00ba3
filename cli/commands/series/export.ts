import type { Command } from "commander";
import { parseChoice } from "../../arguments.ts";
import type { SeriesExportOptions } from "../../library.ts";
import { writeOutputStream } from "../../output-stream.ts";
import { formatBytes, plural } from "../../render/quantities.ts";
import { printable } from "../../render/text.ts";
import type { Session } from "../../session.ts";
import { addRowFlags, type RowFlags, readRange } from "./rows.ts";

const FORMATS = ["arrow", "parquet", "csv", "ndjson"] as const;

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
      const { compressionOfName, formatOfName } = await session.library();
      const format =
        flags.format === undefined
          ? (formatOfName(out) ?? "csv")
          : parseChoice("--format", flags.format, FORMATS);
      let rows = 0;
      const size = await session.withStore({ readOnly: true }, async (store) => {
        const options: SeriesExportOptions = {
          ...readRange(flags, store.series.open(name, { readOnly: true })),
          format,
          compression: compressionOfName(out),
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
