import type { Command } from "commander";
import { collect, parseWhole } from "../../arguments.ts";
import type { Series } from "../../library.ts";
import type { Session } from "../../session.ts";
import { readColumns } from "./rows.ts";

interface TailFlags {
  last?: string;
  follow?: boolean;
  columns?: string[];
}

/** `varve series tail NAME`: the newest rows, and with `--follow` those that come. */
export function addTail(series: Command, session: Session): void {
  series
    .command("tail")
    .description("print the newest rows as CSV (--json: one JSON object a line)")
    .argument("<name>")
    .option("--last <n>", "so many rows (default: 10)")
    .option("--follow", "go on with rows as they are appended, until interrupted")
    .option("--columns <names>", "these columns alone, separated by commas", collect)
    .action(async (name: string, flags: TailFlags) => {
      const count = flags.last === undefined ? 10 : parseWhole("--last", flags.last);
      const columns = readColumns(flags.columns);
      await session.withStore({ readOnly: true }, async (store) => {
        const opened = store.series.open(name, { readOnly: true });
        const format = session.flags.json === true ? "ndjson" : "csv";
        const print = async (fromRow: number, toRow: number, header: boolean) => {
          let text = "";
          const options = { format, fromRow, toRow, ...(columns && { columns }) } as const;
          for await (const bytes of store.exportSeries(name, options))
            text += Buffer.from(bytes).toString("utf8");
          session.terminal.writeOut(
            header || format === "ndjson" ? text : text.slice(text.indexOf("\n") + 1),
          );
        };
        const { firstRow, endRow } = opened.positions();
        await print(Math.max(firstRow, endRow - count), endRow, true);
        if (flags.follow === true)
          await follow(opened, endRow, session.signal, (from, to) => print(from, to, false));
      });
    });
}

async function follow(
  series: Series,
  fromRow: number,
  signal: AbortSignal,
  print: (fromRow: number, toRow: number) => Promise<void>,
): Promise<void> {
  let at = fromRow;
  for await (const batch of series.tail({ fromRow, signal })) {
    await print(at, at + batch.numRows);
    at += batch.numRows;
  }
}
