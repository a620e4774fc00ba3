import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { collect, given, parseChoice, parseWhole } from "../../arguments.ts";
import { UsageError } from "../../exit-codes.ts";
import type { Recipes, SeriesImportOptions } from "../../library.ts";
import { formatBytes, formatCount, formatRatio, plural } from "../../render/quantities.ts";
import { printable } from "../../render/text.ts";
import type { Session } from "../../session.ts";

interface ImportFlags {
  ts?: string;
  unit?: string;
  order?: string;
  onError?: string;
  keep?: string;
  text?: string[];
  format?: string;
  segmentRows?: string;
  derive?: string;
}

/** `varve series import NAME FILE`: appends a file's rows. */
export function addImport(series: Command, session: Session): void {
  series
    .command("import")
    .description("append the rows of a CSV, NDJSON, Arrow or Parquet file (.gz and .zst too) to a series")
    .argument("<name>", "the series; created when it is new")
    .argument("<file>")
    .option("--ts <column>", "the column of event times (default: rows are keyed by arrival)")
    .option("--unit <unit>", "what its numbers count since 1970: ns, us or ms (default: ns)")
    .option(
      "--order <order>",
      "allow (default: the file's order and duplicates), sort, or reject unsorted rows",
    )
    .option("--on-error <what>", "a row with a bad cell: fail (default) or skip it")
    .option("--keep <limit>", "keep so much: 7d, 12h, 10GiB (default: everything)")
    .option(
      "--text <column>",
      "take this column as text whatever it looks like; may come several times",
      collect,
    )
    .option("--format <format>", "csv, ndjson, arrow or parquet (default: by the file)")
    .option("--segment-rows <n>", "rows of a segment, for a new series")
    .option(
      "--derive <file>",
      "recipes by which columns follow from others, as JSON; see features infer-recipes",
    )
    .action(async (name: string, file: string, flags: ImportFlags) => {
      const options = given({ ...readOptions(flags), derive: await readDerive(flags.derive) });
      const { result, stats } = await session.withStore({ create: true }, async (store) => {
        const imported = await session.running("importing", (running) =>
          store.importSeries(name, file, { ...options, ...running }),
        );
        return { result: imported, stats: await store.series.open(name, { readOnly: true }).stats() };
      });
      const { rows, rawBytes, storedBytes } = stats;
      session.done({ ...result, totalRows: rows, rawBytes, storedBytes }, () => {
        const skipped = result.skippedRows > 0 ? `, ${formatCount(result.skippedRows)} skipped` : "";
        const ratio = formatRatio(rawBytes, storedBytes);
        return `${printable(name)}: ${plural(result.rows, "row")} appended${skipped}; ${formatCount(rows)} in ${formatBytes(storedBytes)} (${ratio})\n`;
      });
    });
}

function readOptions(flags: ImportFlags): SeriesImportOptions {
  const choice = <C extends string>(flag: string, text: string | undefined, choices: readonly C[]) =>
    text === undefined ? undefined : parseChoice(flag, text, choices);
  return given({
    ts: flags.ts,
    unit: choice("--unit", flags.unit, ["ns", "us", "ms"]),
    order: choice("--order", flags.order, ["allow", "sort", "reject"]),
    onError: choice("--on-error", flags.onError, ["fail", "skip"]),
    keep: flags.keep,
    text: flags.text,
    format: choice("--format", flags.format, ["csv", "ndjson", "arrow", "parquet"]),
    segmentRows:
      flags.segmentRows === undefined ? undefined : parseWhole("--segment-rows", flags.segmentRows, 1),
  });
}

async function readDerive(path: string | undefined): Promise<Recipes | undefined> {
  if (path === undefined) return undefined;
  const text = await readFile(path, "utf8");
  try {
    return JSON.parse(text) as Recipes;
  } catch (error) {
    throw new UsageError(
      `--derive: ${path} is no JSON: ${(error as Error).message}`,
      "`varve features infer-recipes` ends with what it takes.",
    );
  }
}
