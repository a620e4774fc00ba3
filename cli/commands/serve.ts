import { readFile, stat } from "node:fs/promises";
import type { Command } from "commander";
import type { Store as WholeStore } from "../../index.ts";
import type { Log, RunningServer, TokenTable } from "../../server/index.ts";
import { parseWhole } from "../arguments.ts";
import { UsageError } from "../exit-codes.ts";
import type { Session } from "../session.ts";

interface ServeFlags {
  host?: string;
  port?: string;
  unix?: string;
  tokenFile?: string;
  readOnly?: boolean;
  insecure?: boolean;
}

/** `varve serve`: the store over HTTP, until it is interrupted. */
export function addServe(program: Command, session: Session): void {
  program
    .command("serve")
    .description("serve the store over HTTP, until interrupted")
    .option("--host <address>", "the address to listen on (default: 127.0.0.1)")
    .option("--port <n>", "the port; 0 takes a free one (default: 7411)")
    .option("--unix <path>", "listen on a Unix socket instead, for its owner alone")
    .option(
      "--token-file <file>",
      'who may do what: one "TOKEN SCOPE,SCOPE" a line, of read, save and commit',
    )
    .option("--read-only", "refuse everything that changes the store")
    .option("--insecure", "listen where others can connect without asking for tokens")
    .action(async (flags: ServeFlags) => {
      if (flags.unix !== undefined && (flags.host !== undefined || flags.port !== undefined)) {
        throw new UsageError("--unix listens on a socket alone: leave out --host and --port");
      }
      const port = flags.port === undefined ? undefined : parseWhole("--port", flags.port);
      if (port !== undefined && port > 65_535) throw new UsageError(`--port takes 0 to 65535, not ${port}`);
      const { startServer, jsonLog } = await import("../../server/index.ts");
      const log = jsonLog((line) => session.terminal.writeErr(line));
      const tokens = flags.tokenFile === undefined ? undefined : await readTokens(flags.tokenFile, log);
      const { host, unix, insecure, readOnly = false } = flags;
      const place = { ...(host && { host }), ...(unix && { unix }), ...(port !== undefined && { port }) };
      const options = readOnly ? { readOnly } : { create: true };
      await session.withStore(options, async (store) => {
        // The command line's narrower view of the store is a view of this one.
        const whole = store as unknown as WholeStore;
        const more = {
          ...(tokens && { tokens }),
          ...(insecure && { insecure }),
          readOnly,
          log: quietable(session, log),
        };
        const server = await startServer(whole, { ...place, ...more });
        session.done({ url: server.url }, () => `varve serves ${session.storePath} at ${server.url}\n`);
        await untilStopped(session, server);
      });
    });
}

/** Requests are logged as lines of JSON on standard error; `--quiet` keeps failures alone. */
function quietable(session: Session, log: Log): Log {
  return (event, fields) => {
    if (session.flags.quiet !== true || event === "failure") log(event, fields);
  };
}

async function readTokens(path: string, log: Log): Promise<TokenTable> {
  const { TokenTable } = await import("../../server/index.ts");
  const { mode } = await stat(path);
  if ((mode & 0o077) !== 0)
    log("token-file-readable", { path, hint: "Others can read the tokens: chmod 600." });
  return TokenTable.parse(await readFile(path, "utf8"));
}

/** Until the first interrupt or a request to end; then requests in flight are let through. */
async function untilStopped(session: Session, server: RunningServer): Promise<void> {
  await new Promise<void>((resolve) => {
    if (session.signal.aborted) resolve();
    session.signal.addEventListener("abort", () => resolve(), { once: true });
    process.once("SIGTERM", () => resolve());
  });
  await server.close();
}
