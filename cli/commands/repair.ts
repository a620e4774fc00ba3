import type { Command } from "commander";
import type { RepairResult } from "../library.ts";
import { printable } from "../render/text.ts";
import type { Session } from "../session.ts";

/** `varve repair`: rebuilds what can be rebuilt and sets aside what is damaged. */
export function addRepair(program: Command, session: Session): void {
  program
    .command("repair")
    .description("rebuild indexes, set damaged data aside and say which versions it affects")
    .action(async () => {
      const { repairStore } = await session.library();
      const result = await session.running("repairing", (running) => repairStore(session.storePath, running));
      session.done(result, () => renderRepair(result));
    });
}

function renderRepair({ actions, quarantined, damagedVersions }: RepairResult): string {
  const done =
    actions.length === 0
      ? "nothing needed repair\n"
      : actions.map((action) => `${printable(action)}\n`).join("");
  const aside = quarantined.map((path) => `set aside: ${printable(path)}\n`).join("");
  if (damagedVersions.length === 0) return `${done}${aside}`;
  return `${done}${aside}damaged versions, which can no longer be restored in full: ${printable(damagedVersions.join(", "))}\n`;
}
