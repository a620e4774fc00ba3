import { createInterface } from "node:readline/promises";
import { EXIT } from "./exit-codes.ts";

/** The only way of the command line to its streams, so that tests can watch it. */
export interface Terminal {
  /** Data. */
  writeOut(text: string): void;
  /** Progress, messages, errors. */
  writeErr(text: string): void;
  readonly inIsTerminal: boolean;
  readonly outIsTerminal: boolean;
  readonly errIsTerminal: boolean;
  /** Width of the error stream's terminal, in columns. */
  readonly columns: number;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** A steady clock. */
  nowMs(): number;
  /** Asks on the error stream and reads one line; rejects when `signal` aborts, `""` at the end of input. */
  ask(question: string, signal: AbortSignal): Promise<string>;
}

/**
 * The process's own streams. A reader that goes away (`varve log REF | head -1`) is no error: what is still to be
 * written is dropped and the command goes on to its end.
 */
export function processTerminal(): Terminal {
  const { stdin, stdout, stderr } = process;
  const gone = new Set<NodeJS.WriteStream>();
  for (const stream of [stdout, stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      gone.add(stream);
      if (error.code === "EPIPE") return;
      // A full disk behind a redirection: the data asked for is not there, which is a failure.
      if (stream === stdout) stderr.write(`error: cannot write the output: ${error.message}\n`);
      process.exit(EXIT.failed);
    });
  }
  const write = (stream: NodeJS.WriteStream, text: string) => {
    if (!gone.has(stream)) stream.write(text);
  };
  return {
    writeOut: (text) => write(stdout, text),
    writeErr: (text) => write(stderr, text),
    inIsTerminal: stdin.isTTY === true,
    outIsTerminal: stdout.isTTY === true,
    errIsTerminal: stderr.isTTY === true,
    get columns() {
      // A terminal that does not tell its size says 0.
      return stderr.columns || 80;
    },
    environment: process.env,
    nowMs: () => performance.now(),
    async ask(question, signal) {
      // Not in raw mode: an interrupt at the prompt reaches the process as a signal, as everywhere else.
      const lines = createInterface({ input: stdin, output: stderr, terminal: false });
      const ended = new Promise<string>((resolve) => lines.once("close", () => resolve("")));
      try {
        return await Promise.race([lines.question(question, { signal }), ended]);
      } finally {
        lines.close();
      }
    },
  };
}

/** Resolves once everything written to the process's streams has left it. */
export async function drainProcessStreams(): Promise<void> {
  // An error of the last write is reported on a later turn of the loop.
  await new Promise((resolve) => setImmediate(resolve));
  const drained = (stream: NodeJS.WriteStream) =>
    new Promise<void>((resolve) => {
      if (stream.destroyed || stream.writableLength === 0) resolve();
      else stream.write("", () => resolve());
    });
  await Promise.all([drained(process.stdout), drained(process.stderr)]);
}
