import type { Command } from "commander";
import { EXIT } from "../exit-codes.ts";
import type { LogInspection } from "../library.ts";
import { formatCount } from "../render/quantities.ts";
import { printable } from "../render/text.ts";
import type { Session } from "../session.ts";

/** `varve wal inspect`: every block of the critical log, also of a damaged one. */
export function addWal(program: Command, session: Session): void {
  const wal = program.command("wal").description("look into the critical log");
  wal
    .command("inspect")
    .description("print every block: its records, its links, or what is wrong with it")
    .option("--directory <dir>", "another directory with such a log: a mirror")
    .action(async (flags: { directory?: string }) => {
      const { inspectWal, renderBlock } = await session.criticalLibrary();
      const inspection = inspectWal(session.storePath, flags.directory);
      if ("error" in inspection.verdict) session.exitCode = EXIT.corrupt;
      if (session.flags.json === true) {
        session.report({ ...inspection, blocks: [...inspection.blocks] }, () => "");
        return;
      }
      session.terminal.writeOut(renderHead(inspection));
      for (const block of inspection.blocks) session.terminal.writeOut(`${renderBlock(block)}\n`);
    });
}

function renderHead({ directory, segments, segmentBlocks, verdict }: LogInspection): string {
  const where = `${printable(directory)}: ${formatCount(segments)} segments of ${formatCount(segmentBlocks)} blocks\n`;
  if ("error" in verdict) return `${where}an opening would fail: ${printable(verdict.error)}\n`;
  const { nextLsn, logStart, nextSequence, topEpoch, torn } = verdict;
  const cut =
    torn === undefined ? "" : `; ${torn.blocks} blocks of an unfinished write from #${torn.sequence} on`;
  return `${where}sound from #${logStart} to #${nextSequence - 1}, next LSN ${nextLsn}, epoch ${topEpoch}${cut}\n`;
}
