import type { Command } from "commander";
import { given, parseChoice } from "../../arguments.ts";
import { writeOutputStream } from "../../output-stream.ts";
import { formatBytes, plural } from "../../render/quantities.ts";
import { printable } from "../../render/text.ts";
import type { Session } from "../../session.ts";
import { parseSelection } from "./selector.ts";

interface ExportFlags {
  out: string;
  format?: string;
  asOf?: string;
  columns?: string;
  buffers?: string;
  force?: boolean;
}

const FORMATS = ["arrow", "parquet", "csv", "ndjson"] as const;

/** `varve features export NAME[@VERSION] --out FILE`: a version as a plain file of another tool. */
export function addExport(features: Command, session: Session): void {
  features
    .command("export")
    .description("write a version as plain Arrow IPC, Parquet, CSV or NDJSON (.gz or .zst compresses text)")
    .argument("<features>", "NAME or NAME@VERSION")
    .requiredOption("--out <file>", "where to write")
    .option("--format <format>", "arrow, parquet, csv or ndjson (default: by the file's name, else csv)")
    .option("--as-of <instant>", "the version that was the newest known then")
    .option("--columns <names>", "only these, separated by commas")
    .option("--buffers <compression>", "Arrow: compress each buffer by lz4 or zstd (default: none)")
    .option("--force", "overwrite what is there")
    .action(async (text: string, flags: ExportFlags) => {
      const { out } = flags;
      const { name, ...selection } = parseSelection(text, flags.asOf);
      const { compressionOfName, formatOfName } = await session.library();
      const format =
        flags.format === undefined
          ? (formatOfName(out) ?? "csv")
          : parseChoice("--format", flags.format, FORMATS);
      const options = {
        ...given({
          ...selection,
          columns: flags.columns?.split(","),
          buffers:
            flags.buffers === undefined
              ? undefined
              : parseChoice("--buffers", flags.buffers, ["none", "lz4", "zstd"]),
        }),
        format,
        compression: compressionOfName(out),
      };
      const exported = await session.withStore({ readOnly: true }, async (store) => {
        const { version, rows } = store.features.find(name, selection);
        const sizeBytes = await writeOutputStream(
          out,
          store.exportFeatures(name, options),
          flags.force === true,
        );
        return { name, version, rows, out, format, sizeBytes };
      });
      session.done(
        exported,
        () =>
          `${printable(name)}@${exported.version}: ${plural(exported.rows, "row")} in ${printable(out)} (${formatBytes(exported.sizeBytes)})\n`,
      );
    });
}
