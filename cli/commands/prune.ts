import type { Command } from "commander";
import { given, parseBest, parseWhole } from "../arguments.ts";
import { EXIT, UsageError } from "../exit-codes.ts";
import type { PruneOptions, PruneResult } from "../library.ts";
import { plural } from "../render/quantities.ts";
import { printable } from "../render/text.ts";
import type { Session } from "../session.ts";

interface PruneFlags {
  keepLast?: string;
  keepEvery?: string;
  keepBest?: string;
  keepTags?: boolean;
  dryRun?: boolean;
  yes?: boolean;
}

/** `varve prune REF`: forgets versions by rule; `gc` frees their bytes. */
export function addPrune(program: Command, session: Session): void {
  program
    .command("prune")
    .description("forget versions that no rule keeps; `varve gc` then frees their bytes")
    .argument("<ref>")
    .option("--keep-last <n>", "keep the newest n versions")
    .option("--keep-every <steps>", "of every so many steps, keep the first version")
    .option("--keep-best <metric>", "keep the best version by METRIC[:min|:max]")
    .option("--keep-tags", "keep tagged versions (they always are) and nothing else by itself")
    .option("--dry-run", "show the plan and change nothing")
    .option("--yes", "do not ask")
    .action(async (ref: string, flags: PruneFlags) => {
      const rules = readRules(flags);
      session.requireConsent(flags);
      await session.withStore({ readOnly: flags.dryRun === true }, async ({ checkpoints }) => {
        const plan = await checkpoints.prune(ref, { ...rules, dryRun: true });
        const nothingToDo = plan.pruned.length === 0;
        if (flags.dryRun === true || nothingToDo) return finish(session, plan, flags.dryRun === true);
        if (flags.yes !== true && !(await session.confirm(renderPlan(plan), "Prune them?"))) {
          session.terminal.writeErr("nothing was changed\n");
          session.exitCode = EXIT.failed;
          return;
        }
        finish(session, await checkpoints.prune(ref, rules), false);
      });
    });
}

function readRules({ keepLast, keepEvery, keepBest, keepTags }: PruneFlags): PruneOptions {
  const rules = given({
    keepLast: keepLast === undefined ? undefined : parseWhole("--keep-last", keepLast, 1),
    keepEvery: keepEvery === undefined ? undefined : parseWhole("--keep-every", keepEvery, 1),
    keepBest: keepBest === undefined ? undefined : parseBest("--keep-best", keepBest),
    keepTags,
  });
  if (Object.keys(rules).length === 0) {
    throw new UsageError(
      "no rule says what to keep",
      "Pass --keep-last, --keep-every, --keep-best or --keep-tags; a version that any of them keeps stays.",
    );
  }
  return rules;
}

function finish(session: Session, result: PruneResult, dryRun: boolean): void {
  const data = { ...result, dryRun };
  if (dryRun) session.report(data, () => renderPlan(result));
  else {
    session.done(data, () => {
      const ref = printable(result.ref);
      const kept = plural(result.kept.length, "version");
      if (result.pruned.length === 0) return `nothing to prune: ${ref} keeps all its ${kept}\n`;
      const pruned = plural(result.pruned.length, "version");
      return `pruned ${pruned} of ${ref}, kept ${kept}; varve gc frees the bytes\n`;
    });
  }
}

function renderPlan({ ref, kept, pruned }: PruneResult): string {
  const name = printable(ref);
  return (
    `${name}: prune ${plural(pruned.length, "version")}${listed(pruned)}\n` +
    `${name}: keep ${plural(kept.length, "version")}${listed(kept)}\n`
  );
}

/** `: 1–4, 7`. */
function listed(versions: readonly number[]): string {
  const runs: [first: number, last: number][] = [];
  for (const version of [...versions].sort((a, b) => a - b)) {
    const run = runs.at(-1);
    if (run !== undefined && run[1] === version - 1) run[1] = version;
    else runs.push([version, version]);
  }
  const texts = runs.map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`));
  return texts.length === 0 ? "" : `: ${texts.join(", ")}`;
}
