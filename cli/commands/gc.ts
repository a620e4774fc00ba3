import type { Command } from "commander";
import { given, parseWhole } from "../arguments.ts";
import { EXIT } from "../exit-codes.ts";
import type { GcResult } from "../library.ts";
import { formatBytes, plural } from "../render/quantities.ts";
import type { Session } from "../session.ts";

/** `varve gc`: frees the bytes that no version needs. */
export function addGc(program: Command, session: Session): void {
  program
    .command("gc")
    .description("free the bytes that no version needs any more")
    .option("--dry-run", "show the plan and change nothing")
    .option("--yes", "do not ask")
    .option("--rate <bytes>", "bytes to copy each second, on average (default: 10000000)")
    .action(async (flags: { dryRun?: boolean; yes?: boolean; rate?: string }) => {
      const dryRun = flags.dryRun === true;
      const bytesPerSecond = flags.rate === undefined ? undefined : parseWhole("--rate", flags.rate, 1);
      session.requireConsent(flags);
      await session.withStore({ readOnly: dryRun }, async (store) => {
        const collect = (planOnly: boolean) =>
          session.running(planOnly ? "marking" : "collecting", (running) =>
            store.gc({ ...given({ bytesPerSecond }), ...running, dryRun: planOnly }),
          );
        if (dryRun) {
          const plan = await collect(true);
          return session.report({ ...plan, dryRun }, () => renderPlan(plan));
        }
        if (flags.yes !== true) {
          const plan = await collect(true);
          const nothingToDo =
            plan.chunksRemoved === 0 && plan.packsRemoved === 0 && plan.packsRewritten === 0;
          if (!nothingToDo && !(await session.confirm(renderPlan(plan), "Remove them?"))) {
            session.terminal.writeErr("nothing was changed\n");
            session.exitCode = EXIT.failed;
            return;
          }
        }
        const result = await collect(false);
        session.done({ ...result, dryRun }, () => renderResult(result));
      });
    });
}

function renderPlan(plan: GcResult): string {
  return (
    `remove ${plural(plan.chunksRemoved, "chunk")}, keep ${plural(plan.chunksKept, "chunk")}\n` +
    `remove ${plural(plan.packsRemoved, "pack")}, rewrite ${plural(plan.packsRewritten, "pack")}\n` +
    `frees ${formatBytes(plan.reclaimedBytes)}\n`
  );
}

function renderResult(result: GcResult): string {
  const chunks = `${plural(result.chunksRemoved, "chunk")} removed`;
  const packs = `${plural(result.packsRemoved, "pack")} removed and ${result.packsRewritten} rewritten`;
  return `freed ${formatBytes(result.reclaimedBytes)}: ${chunks}, ${packs}\n`;
}
