import type { Command } from "commander";
import { collect, given, parseChoice, parsePairs, parseWhole } from "../../arguments.ts";
import { formatBytes, formatCount, plural } from "../../render/quantities.ts";
import { printable } from "../../render/text.ts";
import type { Session } from "../../session.ts";
import { parseInstant } from "./selector.ts";

interface PublishFlags {
  asOf?: string;
  schemaVersion?: string;
  source?: string[];
  time?: string[];
  onError?: string;
  format?: string;
}

const UNITS = ["ns", "us", "ms", "s"] as const;

/** `varve features publish NAME FILE`: a table file as the next version. */
export function addPublish(features: Command, session: Session): void {
  features
    .command("publish")
    .description("publish a CSV, NDJSON, Arrow or Parquet file (.gz and .zst too) as the next version")
    .argument("<name>", "the feature table; created when it is new")
    .argument("<file>")
    .option(
      "--as-of <instant>",
      "when its values were known: microseconds since 1970, or ISO 8601 (default: now)",
    )
    .option("--schema-version <n>", "changes when the meaning of the columns does (default: 1)")
    .option("--source <text>", "what it was made from; may come several times", collect)
    .option(
      "--time <column=unit>",
      "a column of time and what it counts: ns, us, ms or s; may come several times",
      collect,
    )
    .option("--on-error <what>", "a row with a bad cell: fail (default) or skip it")
    .option("--format <format>", "csv, ndjson, arrow or parquet (default: by the file)")
    .action(async (name: string, file: string, flags: PublishFlags) => {
      let skippedRows = 0;
      const options = {
        ...readOptions(flags),
        signal: session.signal,
        onSkip: () => {
          skippedRows += 1;
        },
      };
      const result = await session.withStore({ create: true }, (store) =>
        store.publishFeatures(name, file, options),
      );
      session.done({ ...result, skippedRows }, () => {
        const { version, rows, columns, storedBytes, fingerprint } = result;
        const skipped = skippedRows > 0 ? `, ${formatCount(skippedRows)} skipped` : "";
        return `${printable(name)}@${version}: ${plural(rows, "row")} of ${plural(columns, "column")}${skipped}, ${formatBytes(storedBytes)} stored, fingerprint ${fingerprint}\n`;
      });
    });
}

function readOptions(flags: PublishFlags) {
  const units = parsePairs("--time", flags.time ?? []).map(
    ([column, unit]) => [column, parseChoice(`--time ${column}`, unit, UNITS)] as const,
  );
  return given({
    asOf: flags.asOf === undefined ? undefined : parseInstant("--as-of", flags.asOf),
    schemaVersion:
      flags.schemaVersion === undefined ? undefined : parseWhole("--schema-version", flags.schemaVersion, 1),
    sources: flags.source,
    units: Object.fromEntries(units),
    onError:
      flags.onError === undefined ? undefined : parseChoice("--on-error", flags.onError, ["fail", "skip"]),
    format:
      flags.format === undefined
        ? undefined
        : parseChoice("--format", flags.format, ["csv", "ndjson", "arrow", "parquet"]),
  });
}
