import type { Command } from "commander";
import { collect, given, parseWhole } from "../../arguments.ts";
import { UsageError } from "../../exit-codes.ts";
import type { Series, SeriesExportOptions } from "../../library.ts";
import { parseTime } from "./times.ts";

/** Flags of all verbs that choose rows and columns. */
export interface RowFlags {
  from?: string;
  to?: string;
  fromRow?: string;
  toRow?: string;
  columns?: string[];
  by?: string;
}

export function addRowFlags(command: Command): Command {
  return command
    .option("--from <time>", "from this time on: a number in the time column's unit, or a date")
    .option("--to <time>", "before this time")
    .option("--from-row <n>", "from this row number on")
    .option("--to-row <n>", "before this row number")
    .option("--columns <names>", "these columns alone, separated by commas; may come several times", collect)
    .option("--by <time>", "times are event times (event, default) or times of knowing (known)");
}

/** The choice of rows. In a series keyed by arrival, `--from` and `--to` are row numbers too. */
export function readRange(flags: RowFlags, series: Series): Omit<SeriesExportOptions, "format"> {
  const byRow = series.key === undefined;
  const time = (flag: string, text: string | undefined) =>
    text === undefined || byRow ? undefined : parseTime(flag, text, series);
  const row = (flag: string, text: string | undefined) =>
    text === undefined ? undefined : parseWhole(flag, text);
  if (flags.by !== undefined && flags.by !== "event" && flags.by !== "known") {
    throw new UsageError(`--by takes event or known, not ${JSON.stringify(flags.by)}`);
  }
  return given({
    fromNs: time("--from", flags.from),
    toNs: time("--to", flags.to),
    fromRow: row("--from-row", flags.fromRow) ?? (byRow ? row("--from", flags.from) : undefined),
    toRow: row("--to-row", flags.toRow) ?? (byRow ? row("--to", flags.to) : undefined),
    columns: readColumns(flags.columns),
    by: flags.by as "event" | "known" | undefined,
  });
}

export function readColumns(texts: readonly string[] | undefined): string[] | undefined {
  return texts?.flatMap((text) => text.split(",")).filter((name) => name !== "");
}
