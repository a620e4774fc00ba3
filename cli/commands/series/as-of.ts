import type { Command } from "commander";
import { StoreError } from "../../../src/errors.ts";
import { collect, given, parseChoice } from "../../arguments.ts";
import { UsageError } from "../../exit-codes.ts";
import { renderFields } from "../../render/table.ts";
import type { Session } from "../../session.ts";
import { readColumns } from "./rows.ts";
import { parseTime } from "./times.ts";
import { jsonRow, valueText } from "./values.ts";

interface AsOfFlags {
  at?: string;
  ts?: string;
  columns?: string[];
  by?: string;
  knownAt?: string;
}

/** `varve series as-of NAME TIME`: the newest row at or before a time. */
export function addAsOf(series: Command, session: Session): void {
  series
    .command("as-of")
    .description("show the newest row at or before a time")
    .argument("<name>")
    .argument("[time]", "a number in the time column's unit (18 digits or more: ns), or a date")
    .option("--at <time>", "the same as an option")
    .option("--ts <time>", "the same as --at")
    .option("--columns <names>", "these columns alone, separated by commas", collect)
    .option("--by <time>", "event (default) or known")
    .option("--known-at <time>", "only rows that were known at this time")
    .action(async (name: string, time: string | undefined, flags: AsOfFlags) => {
      const text = time ?? flags.at ?? flags.ts;
      if (text === undefined) throw new UsageError("as-of needs a time: varve series as-of NAME TIME");
      const found = await session.withStore({ readOnly: true }, (store) => {
        const opened = store.series.open(name, { readOnly: true });
        const options = given({
          columns: readColumns(flags.columns),
          by: flags.by === undefined ? undefined : parseChoice("--by", flags.by, ["event", "known"]),
          knownAtNs: flags.knownAt === undefined ? undefined : parseTime("--known-at", flags.knownAt, opened),
        });
        return opened.asOf(parseTime("TIME", text, opened), options);
      });
      if (found === undefined) {
        throw new StoreError("ERR_NOT_FOUND", `series "${name}" has no row at or before ${text}`, {
          context: { series: name, time: text },
        });
      }
      session.report(jsonRow(found), () =>
        renderFields(
          [
            ["row", String(found.row)],
            ...Object.entries(found.values).map(([column, value]) => [column, valueText(value)] as const),
          ],
          session.style,
        ),
      );
    });
}
