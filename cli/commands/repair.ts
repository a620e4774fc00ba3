import type { Command } from "commander";
import { given } from "../arguments.ts";
import { EXIT } from "../exit-codes.ts";
import type { RepairResult } from "../library.ts";
import { printable } from "../render/text.ts";
import type { Session } from "../session.ts";

/** `varve repair`: rebuilds what can be rebuilt and sets aside what is damaged. */
export function addRepair(program: Command, session: Session): void {
  program
    .command("repair")
    .description("rebuild indexes, set damaged data aside and say which versions it affects")
    .option("--mirror <dir>", "the critical log's mirror, to take damaged blocks from")
    .action(async (flags: { mirror?: string }) => {
      const { repairStore } = await session.library();
      const result = await session.running("repairing", (running) =>
        repairStore(session.storePath, { ...running, ...given({ mirror: flags.mirror }) }),
      );
      if (!result.check.ok) session.exitCode = EXIT.corrupt;
      session.done(result, () => renderRepair(result));
    });
}

function renderRepair({ actions, quarantined, damagedVersions, check }: RepairResult): string {
  const lines = actions.length === 0 ? ["nothing needed repair"] : [...actions];
  for (const path of quarantined) lines.push(`set aside: ${path}`);
  if (damagedVersions.length > 0) {
    lines.push(`damaged versions, which can no longer be restored in full: ${damagedVersions.join(", ")}`);
  }
  if (!check.ok) lines.push("damage is left: varve check --read-data lists it");
  return lines.map((line) => `${printable(line)}\n`).join("");
}
