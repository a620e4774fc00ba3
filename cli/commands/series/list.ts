import type { Command } from "commander";
import { formatBytes, formatCount, formatRatio } from "../../render/quantities.ts";
import { renderTable } from "../../render/table.ts";
import type { Session } from "../../session.ts";

/** `varve series ls`: all series. */
export function addList(series: Command, session: Session): void {
  series
    .command("ls")
    .description("list the series")
    .action(async () => {
      const all = await session.withStore({ readOnly: true }, (store) =>
        Promise.all(store.series.list().map((name) => store.series.open(name, { readOnly: true }).stats())),
      );
      session.report(all, () =>
        renderTable(
          all,
          [
            { title: "series", cell: ({ name }) => name },
            { title: "rows", align: "right", cell: ({ rows }) => formatCount(rows) },
            {
              title: "evicted",
              align: "right",
              cell: ({ evictedRows }) => (evictedRows > 0 ? formatCount(evictedRows) : ""),
            },
            { title: "columns", align: "right", cell: ({ columns }) => String(Object.keys(columns).length) },
            { title: "stored", align: "right", cell: ({ storedBytes }) => formatBytes(storedBytes) },
            {
              title: "ratio",
              align: "right",
              cell: ({ rawBytes, storedBytes }) => formatRatio(rawBytes, storedBytes),
            },
          ],
          session.style,
        ),
      );
    });
}
