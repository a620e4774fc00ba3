import type { Command } from "commander";
import type { RefInfo } from "../library.ts";
import { formatBytes, formatCount, formatTime } from "../render/quantities.ts";
import { type Column, renderTable } from "../render/table.ts";
import type { Session } from "../session.ts";

const columns: Column<RefInfo>[] = [
  { title: "ref", cell: ({ ref }) => ref },
  { title: "version", align: "right", cell: ({ version }) => String(version) },
  { title: "versions", align: "right", cell: ({ versions }) => formatCount(versions) },
  { title: "step", align: "right", cell: ({ step }) => (step === undefined ? "" : formatCount(step)) },
  { title: "saved", cell: ({ timeUs }) => formatTime(timeUs) },
  { title: "logical", align: "right", cell: ({ logicalBytes }) => formatBytes(logicalBytes) },
  // Of all versions together, where the column before it is the current one's: no ratio of the two means anything.
  { title: "all stored", align: "right", cell: ({ storedBytes }) => formatBytes(storedBytes) },
];

/** `varve refs`: what is in the store. */
export function addRefs(program: Command, session: Session): void {
  program
    .command("refs")
    .description("list the refs and their current versions")
    .action(async () => {
      const refs = await session.withStore({ readOnly: true }, (store) => store.checkpoints.refs());
      session.report(refs, () =>
        refs.length === 0 ? "no refs yet\n" : renderTable(refs, columns, session.style),
      );
    });
}
