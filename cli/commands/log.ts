import type { Command } from "commander";
import type { VersionInfo } from "../library.ts";
import { formatBytes, formatCount, formatNumber, formatRatio, formatTime } from "../render/quantities.ts";
import { type Column, renderTable } from "../render/table.ts";
import type { Session } from "../session.ts";

/** `varve log REF`: every version, with what it measured and what it cost. */
export function addLog(program: Command, session: Session): void {
  program
    .command("log")
    .description("list the versions of a ref")
    .argument("<ref>")
    .action(async (ref: string) => {
      const versions = await session.withStore({ readOnly: true }, (store) => store.checkpoints.log(ref));
      session.report(versions, () => renderTable(versions, columnsFor(versions), session.style));
    });
}

/** One column for each metric that any version has, in the order they first come. */
function columnsFor(versions: readonly VersionInfo[]): Column<VersionInfo>[] {
  const metrics = new Set(versions.flatMap((version) => Object.keys(version.metrics)));
  const metricColumns = [...metrics].map(
    (name): Column<VersionInfo> => ({
      title: name,
      align: "right",
      cell: ({ metrics }) => (Object.hasOwn(metrics, name) ? formatNumber(metrics[name]) : ""),
    }),
  );
  return [
    { title: "version", align: "right", cell: ({ version }) => String(version) },
    { title: "step", align: "right", cell: ({ step }) => (step === undefined ? "" : formatCount(step)) },
    ...metricColumns,
    { title: "logical", align: "right", cell: ({ logicalBytes }) => formatBytes(logicalBytes) },
    { title: "stored", align: "right", cell: ({ storedBytes }) => formatBytes(storedBytes) },
    {
      title: "ratio",
      align: "right",
      cell: ({ logicalBytes, storedBytes }) => formatRatio(logicalBytes, storedBytes),
    },
    { title: "saved", cell: ({ timeUs }) => formatTime(timeUs) },
    { title: "tags", cell: ({ tags }) => tags.join(", ") },
    { title: "state", cell: ({ damaged }) => (damaged ? "damaged" : "") },
  ];
}
