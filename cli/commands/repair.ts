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
      const result = await session.withStore({}, (store) =>
        session.running("repairing", (running) => store.repair(running)),
      );
      session.done(result, () => renderRepair(result));
    });
}

function renderRepair({ actions, damagedVersions }: RepairResult): string {
  const done =
    actions.length === 0
      ? "nothing needed repair\n"
      : actions.map((action) => `${printable(action)}\n`).join("");
  if (damagedVersions.length === 0) return done;
  return `${done}damaged versions, which can no longer be restored in full: ${printable(damagedVersions.join(", "))}\n`;
}
