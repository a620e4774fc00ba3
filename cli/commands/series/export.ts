import { createWriteStream } from "node:fs";
import { rename, rm, stat } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Command } from "commander";
import { StoreError } from "../../../src/errors.ts";
import { parseChoice } from "../../arguments.ts";
import type { SeriesExportOptions } from "../../library.ts";
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
      if (flags.force !== true && (await exists(out))) {
        throw new StoreError("ERR_EXISTS", `${out} exists already`, {
          context: { path: out },
          hint: "Pass --force to overwrite it.",
        });
      }
      const format =
        flags.format === undefined ? formatOf(out) : parseChoice("--format", flags.format, FORMATS);
      let rows = 0;
      await session.withStore({ readOnly: true }, async (store) => {
        const options: SeriesExportOptions = {
          ...readRange(flags, store.series.open(name, { readOnly: true })),
          format,
          compression: /\.gz$/.test(out) ? "gzip" : /\.zst$/.test(out) ? "zstd" : "none",
          signal: session.signal,
          onRows: (count) => {
            rows += count;
          },
        };
        await writeWhole(out, store.exportSeries(name, options));
      });
      const { size } = await stat(out);
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

/** The file takes its name when it is whole: a failed export leaves what was there. */
async function writeWhole(path: string, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  const temporary = `${path}.${process.pid}.part`;
  try {
    await pipeline(
      Readable.from(bytes, { objectMode: false }),
      createWriteStream(temporary, { flush: true }),
    );
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
