import type { Command } from "commander";
import { parseChoice } from "../../arguments.ts";
import type { Session } from "../../session.ts";
import { addRowFlags, type RowFlags, readRange } from "./rows.ts";

/** `varve series range NAME`: rows on standard output. */
export function addRange(series: Command, session: Session): void {
  addRowFlags(
    series
      .command("range")
      .description("print rows by time or number as CSV (--json: one JSON object a line)")
      .argument("<name>"),
  )
    .option("--format <format>", "csv or ndjson")
    .action(async (name: string, flags: RowFlags & { format?: string }) => {
      const wanted =
        flags.format === undefined ? undefined : parseChoice("--format", flags.format, ["csv", "ndjson"]);
      const format = wanted ?? (session.flags.json === true ? "ndjson" : "csv");
      await session.withStore({ readOnly: true }, async (store) => {
        const range = readRange(flags, store.series.open(name, { readOnly: true }));
        for await (const bytes of store.exportSeries(name, { ...range, format, signal: session.signal })) {
          session.terminal.writeOut(Buffer.from(bytes).toString("utf8"));
        }
      });
    });
}
