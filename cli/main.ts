#!/usr/bin/env node
import { StoreError } from "../src/errors.ts";
import { EXIT } from "./exit-codes.ts";
import { runCli } from "./run.ts";
import { drainProcessStreams, processTerminal } from "./terminal.ts";

const interrupt = new AbortController();
process.on("SIGINT", () => {
  // The first interrupt lets the command end cleanly, the second does not wait for it.
  if (interrupt.signal.aborted) process.exit(EXIT.interrupted);
  interrupt.abort(new StoreError("ERR_ABORTED", "interrupted"));
});

const exitCode = await runCli(process.argv.slice(2), {
  terminal: processTerminal(),
  signal: interrupt.signal,
  loadLibrary: () => import("../index.ts"),
  loadCritical: () => import("../open-critical.ts"),
});
await drainProcessStreams();
process.exit(exitCode);
