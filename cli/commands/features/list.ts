import type { Command } from "commander";
import type { FeatureInfo } from "../../library.ts";
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatRatio,
  formatTime,
} from "../../render/quantities.ts";
import { type Column, renderTable } from "../../render/table.ts";
import type { Session } from "../../session.ts";

/** `varve features ls [NAME]`: the newest version of each table, or every version of one. */
export function addList(features: Command, session: Session): void {
  features
    .command("ls")
    .description("list the feature tables, or the versions of one")
    .argument("[name]")
    .action(async (name: string | undefined) => {
      const found = await session.withStore({ readOnly: true }, (store) =>
        name === undefined ? store.features.list() : store.features.versions(name),
      );
      session.report(found, () => renderTable(found, columns, session.style));
    });
}

const columns: Column<FeatureInfo>[] = [
  { title: "features", cell: ({ name }) => name },
  { title: "version", align: "right", cell: ({ version }) => String(version) },
  { title: "rows", align: "right", cell: ({ rows }) => formatCount(rows) },
  { title: "columns", align: "right", cell: ({ columns: count }) => String(count) },
  { title: "raw", align: "right", cell: ({ rawBytes }) => formatBytes(rawBytes) },
  { title: "stored", align: "right", cell: ({ storedBytes }) => formatBytes(storedBytes) },
  { title: "ratio", align: "right", cell: ({ rawBytes, storedBytes }) => formatRatio(rawBytes, storedBytes) },
  { title: "as of", cell: ({ asOfUs }) => formatTime(asOfUs) },
  { title: "age", align: "right", cell: ({ ageUs }) => formatDuration(Math.max(0, Number(ageUs) / 1000)) },
  { title: "schema", align: "right", cell: ({ schemaVersion }) => String(schemaVersion) },
  { title: "fingerprint", cell: ({ fingerprint }) => fingerprint.slice(0, 12) },
  { title: "state", cell: ({ damaged }) => (damaged ? "damaged" : "") },
];
