import { Command } from "commander";
import { addAudit } from "./commands/audit.ts";
import { addBackup } from "./commands/backup.ts";
import { addBench } from "./commands/bench.ts";
import { addCheck } from "./commands/check.ts";
import { addCritical } from "./commands/critical.ts";
import { addDiff } from "./commands/diff.ts";
import { addFeatures } from "./commands/features/features.ts";
import { addFollow } from "./commands/follow.ts";
import { addGc } from "./commands/gc.ts";
import { addInit } from "./commands/init.ts";
import { addLog } from "./commands/log.ts";
import { addMigrate } from "./commands/migrate.ts";
import { addPin, addUnpin } from "./commands/pin.ts";
import { addPrune } from "./commands/prune.ts";
import { addRecompress } from "./commands/recompress.ts";
import { addRefs } from "./commands/refs.ts";
import { addRepair } from "./commands/repair.ts";
import { addRestore } from "./commands/restore.ts";
import { addSave } from "./commands/save.ts";
import { addSequence } from "./commands/sequence.ts";
import { addSeries } from "./commands/series/series.ts";
import { addServe } from "./commands/serve.ts";
import { addShow } from "./commands/show.ts";
import { addState } from "./commands/state/state.ts";
import { addStats } from "./commands/stats.ts";
import { addTag } from "./commands/tag.ts";
import { addVersion } from "./commands/version.ts";
import { addWal } from "./commands/wal.ts";
import { EXIT_MEANINGS } from "./exit-codes.ts";
import { packageVersion } from "./package-version.ts";
import type { Session } from "./session.ts";

/** All verbs, in the order in which `--help` lists them. */
const verbs = [
  addInit,
  addSave,
  addRestore,
  addRefs,
  addLog,
  addShow,
  addDiff,
  addTag,
  addFollow,
  addPin,
  addUnpin,
  addPrune,
  addGc,
  addRecompress,
  addCritical,
  addSequence,
  addWal,
  addAudit,
  addMigrate,
  addBackup,
  addCheck,
  addRepair,
  addStats,
  addServe,
  addSeries,
  addBench,
  addFeatures,
  addState,
  addVersion,
];

export function buildProgram(session: Session): Command {
  const { terminal } = session;
  const program = new Command("varve");
  program
    .description("a store for model checkpoints, features, market time series and critical trading state")
    .usage("[--store DIR] VERB …")
    .option("--store <dir>", "the store's directory (default: $VARVE_STORE, else ./.varve)")
    .option("--json", "print data as JSON on standard output, errors as JSON on standard error")
    .option("--quiet", "print no progress and no messages, only the data asked for")
    .version(packageVersion(), "--version", "print the version")
    .helpCommand("help [verb]", "show the help of a verb")
    .exitOverride()
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => terminal.writeOut(text),
      writeErr: (text) => terminal.writeErr(text),
      // Errors are rendered in one place, where it is known whether as text or as JSON.
      outputError: () => {},
    })
    .hook("preAction", () => {
      session.flags = program.opts();
    });
  for (const add of verbs) add(program, session);
  for (const command of [program, ...allCommands(program)]) command.addHelpText("after", exitCodesHelp());
  return program;
}

function allCommands(command: Command): Command[] {
  return command.commands.flatMap((each) => [each, ...allCommands(each)]);
}

function exitCodesHelp(): string {
  const lines = Object.entries(EXIT_MEANINGS).map(([code, meaning]) => `  ${code.padEnd(4)} ${meaning}`);
  return `\nExit codes:\n${lines.join("\n")}`;
}
