import { resolve } from "node:path";
import type { Command } from "commander";
import { formatBytes, formatDuration, plural } from "../render/quantities.ts";
import { printable } from "../render/text.ts";
import type { Session } from "../session.ts";

/** `varve backup DEST`: a checked copy of the whole store while it is in use. */
export function addBackup(program: Command, session: Session): void {
  program
    .command("backup")
    .description("copy the whole store, while it is in use, to a directory or onto an earlier backup")
    .argument("<dest>", "an empty or new directory, or an earlier backup of this store")
    .option("--mirror <dir>", "the critical log's mirror, if it is kept with one and no engine runs")
    .option("--witness <file>", "the witness, likewise")
    .action(async (dest: string, places: { mirror?: string; witness?: string }) => {
      const result = await session.withStore({ readOnly: true, ...places }, (store) =>
        session.running("backing up", (running) => store.backup(resolve(dest), running)),
      );
      session.done(result, () => {
        const { directory, incremental, critical, checkpoints, series, writtenBytes, durationMs } = result;
        const kind = incremental ? "brought up to date" : "made";
        const state = critical === undefined ? "" : `critical state to LSN ${critical.lsn}, `;
        const rows = series.series === 0 ? "" : `, ${series.series} series`;
        const rest = `${plural(checkpoints.packs, "pack")}, version log to ${checkpoints.seq}${rows}`;
        const cost = `${formatBytes(writtenBytes)} written in ${formatDuration(durationMs)}`;
        const fence = critical === undefined ? "" : "its sequences are fenced until they are adopted\n";
        return `backup ${printable(directory)} ${kind} and checked: ${state}${rest}; ${cost}\n${fence}`;
      });
    });
}
