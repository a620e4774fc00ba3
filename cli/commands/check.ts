import type { Command } from "commander";
import { given } from "../arguments.ts";
import { EXIT } from "../exit-codes.ts";
import type { CheckResult, Problem } from "../library.ts";
import { formatBytes, plural } from "../render/quantities.ts";
import type { Style } from "../render/style.ts";
import { printable } from "../render/text.ts";
import type { Session } from "../session.ts";

/** `varve check`: looks for damage; exit code 12 when there is any. */
export function addCheck(program: Command, session: Session): void {
  program
    .command("check")
    .description("look for damage: the structure, or with --read-data every byte")
    .option("--read-data", "read and verify every stored byte")
    .option("--mirror <dir>", "the critical log's mirror, compared with the log")
    .action(async (flags: { readData?: boolean; mirror?: string }) => {
      const { checkStore } = await session.library();
      const result = await session.running("checking", (running) =>
        checkStore(session.storePath, {
          ...running,
          ...given({ mirror: flags.mirror }),
          readData: flags.readData === true,
        }),
      );
      if (!result.ok) session.exitCode = EXIT.corrupt;
      session.report(result, () => renderCheck(result, session.style));
    });
}

function renderCheck(
  { ok, problems, notes, damagedVersions, checkedBytes }: CheckResult,
  style: Style,
): string {
  const checked = `${formatBytes(checkedBytes)} checked`;
  const remarks = notes.map((note) => `note: ${printable(note)}\n`).join("");
  if (ok && damagedVersions.length > 0) {
    const versions = printable(damagedVersions.join(", "));
    return `${remarks}${style.yellow("no new damage")}; on record as damaged: ${versions}; ${checked}\n`;
  }
  if (ok) return `${remarks}${style.green("no damage found")}, ${checked}\n`;
  const list = problems.map((problem) => renderProblem(problem, style)).join("");
  return `${list}${style.red(`${plural(problems.length, "problem")} found`)}, ${checked}\n`;
}

function renderProblem({ what, where, versions, hint }: Problem, style: Style): string {
  const affected = versions.length === 0 ? "" : `  affects: ${printable(versions.join(", "))}\n`;
  const advice = hint === "" ? "" : `  hint: ${printable(hint)}\n`;
  return `${style.red("problem:")} ${printable(what)} (${printable(where)})\n${affected}${advice}`;
}
