import type { Command } from "commander";
import type { SeriesStats } from "../../library.ts";
import { formatBytes, formatCount, formatRatio } from "../../render/quantities.ts";
import type { Style } from "../../render/style.ts";
import { renderFields, renderTable } from "../../render/table.ts";
import type { Session } from "../../session.ts";

/** `varve series stats NAME`: what one series holds and takes, column by column. */
export function addSeriesStats(series: Command, session: Session): void {
  series
    .command("stats")
    .description("rows and bytes of a series, by column")
    .argument("<name>")
    .action(async (name: string) => {
      const stats = await session.withStore({ readOnly: true }, (store) =>
        store.series.open(name, { readOnly: true }).stats(),
      );
      session.report(stats, () => renderStats(stats, session.style));
    });
}

function renderStats(stats: SeriesStats, style: Style): string {
  const { rows, evictedRows, segments, rawBytes, storedBytes, columns } = stats;
  const fields = renderFields(
    [
      ["rows", formatCount(rows)],
      ["evicted rows", formatCount(evictedRows)],
      ["sealed segments", formatCount(segments)],
      ["raw", formatBytes(rawBytes)],
      ["stored", `${formatBytes(storedBytes)} (${formatRatio(rawBytes, storedBytes)})`],
    ],
    style,
  );
  const table = renderTable(
    Object.entries(columns),
    [
      { title: "column", cell: ([name]) => name },
      { title: "type", cell: ([, { type }]) => type },
      { title: "stored", align: "right", cell: ([, column]) => formatBytes(column.storedBytes) },
      { title: "ratio", align: "right", cell: ([, column]) => formatRatio(rows * 8, column.storedBytes) },
      { title: "encoding", cell: ([, { encoding }]) => encoding },
    ],
    style,
  );
  return `${fields}\n${table}`;
}
