import { tmpdir } from "node:os";
import type { Command } from "commander";
import type { SeriesBenchReport } from "../bench/series.ts";
import { formatBytes, formatCount, formatDuration, formatRatio } from "../render/quantities.ts";
import type { Style } from "../render/style.ts";
import { renderFields, renderTable } from "../render/table.ts";
import type { Session } from "../session.ts";

/** `varve bench series`: appends, as-of reads and imports. */
export function addBenchSeries(bench: Command, session: Session): void {
  bench
    .command("series")
    .description(
      "appends and as-of reads of series, against the bare write; sizes of imported files with --data",
    )
    .option("--directory <dir>", "where the store is made and removed again", tmpdir())
    .option("--data <dir>", "import the CSV and NDJSON files of this directory and show what they take")
    .option("--quick", "a short run")
    .action(async (flags: { directory: string; data?: string; quick?: boolean }) => {
      const { benchSeries } = await import("../bench/series.ts");
      const report = await benchSeries({
        directory: flags.directory,
        data: flags.data,
        quick: flags.quick === true,
        signal: session.signal,
        onStep: (what) => {
          if (session.flags.quiet !== true) session.terminal.writeErr(`measuring ${what}\n`);
        },
      });
      session.report(report, () => renderReport(report, session.style));
    });
}

function renderReport({ append, batches, asOf, files }: SeriesBenchReport, style: Style): string {
  const quantiles = ({ p50, p99, p999, max }: SeriesBenchReport["append"]["varveUs"]) =>
    `p50 ${p50} µs, p99 ${p99} µs, p99.9 ${p999} µs, max ${max} µs`;
  const spread = ({ median, least, most }: SeriesBenchReport["asOf"]["firstUs"]) =>
    `${median} µs (${least} to ${most})`;
  const fields = renderFields(
    [
      [`append, ${formatCount(append.rows)} rows, ${append.seals} seals`, quantiles(append.varveUs)],
      ["bare write of as many bytes", quantiles(append.floorUs)],
      [
        "as many into a mapped file",
        append.mappedFloorUs === undefined ? "" : quantiles(append.mappedFloorUs),
      ],
      [
        "longest append at a seal",
        `${append.longestAtSealUs} µs (of a loop that reads the clock: ${append.longestClockGapUs} µs)`,
      ],
      ...batches.map(({ rows, nsPerRow }) => [`batches of ${rows} rows`, `${nsPerRow} ns a row`] as const),
      [
        `as-of in ${formatCount(asOf.rows)} rows, first of a process, 0.1 s after opening`,
        `${spread(asOf.firstUs)}; opened in ${asOf.openMs} ms`,
      ],
      ["the same at once", spread(asOf.atOnceUs)],
      ["as-of in a block not read before", `${asOf.newBlockUs} µs`],
      ["as-of in a cached block", `${asOf.cachedUs} µs`],
    ],
    style,
  );
  if (files.length === 0) return fields;
  const total = (pick: (file: (typeof files)[number]) => number) =>
    files.reduce((sum, file) => sum + pick(file), 0);
  const table = renderTable(
    files,
    [
      { title: "file", cell: ({ file }) => file },
      { title: "rows", align: "right", cell: ({ rows }) => formatCount(rows) },
      { title: "stored", align: "right", cell: ({ storedBytes }) => formatBytes(storedBytes) },
      {
        title: "ratio",
        align: "right",
        cell: ({ rawBytes, storedBytes }) => formatRatio(rawBytes, storedBytes),
      },
      { title: "import", align: "right", cell: ({ importMs }) => formatDuration(importMs) },
    ],
    style,
  );
  const whole = formatRatio(
    total((file) => file.rawBytes),
    total((file) => file.storedBytes),
  );
  return `${fields}\n${table}all together ${whole}\n`;
}
