import { CommanderError } from "commander";
import { EXIT, exitCodeOf, UsageError } from "./exit-codes.ts";
import { buildProgram } from "./program.ts";
import { renderError, renderErrorJson } from "./render/error.ts";
import { Session, type SessionParts } from "./session.ts";

/** Runs one command line and returns its exit code. Never throws. */
export async function runCli(argv: readonly string[], run: SessionParts): Promise<number> {
  const session = new Session(run);
  try {
    await buildProgram(session).parseAsync(argv, { from: "user" });
    return session.exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok;
    const shown = error instanceof CommanderError ? usageErrorOf(error) : error;
    // `varve` alone has already shown its help.
    if (shown !== undefined) reportError(shown, wantsJson(argv), session);
    return shown === undefined ? EXIT.usage : exitCodeOf(shown);
  }
}

function usageErrorOf(error: CommanderError): UsageError | undefined {
  if (error.code === "commander.help") return undefined;
  const [first = "", ...rest] = error.message.replace(/^error: /, "").split("\n");
  const suggestion = rest.join(" ").replace(/^\(|\)$/g, "");
  return new UsageError(first, suggestion || "See varve --help, or varve help VERB.");
}

/** A usage error may come before the flags are read. */
function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  return argv.slice(0, end < 0 ? argv.length : end).includes("--json");
}

function reportError(error: unknown, json: boolean, session: Session): void {
  const { terminal } = session;
  terminal.writeErr(json ? renderErrorJson(error) : renderError(error, session.errorStyle));
  if (terminal.environment["VARVE_DEBUG"] && error instanceof Error) terminal.writeErr(`${error.stack}\n`);
}
