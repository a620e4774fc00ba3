import { resolve } from "node:path";
import { given } from "./arguments.ts";
import { EXIT, UsageError } from "./exit-codes.ts";
import type {
  CriticalLibrary,
  Library,
  OpenOptions,
  ReachedCritical,
  ReachOptions,
  Running,
  Store,
} from "./library.ts";
import { renderError } from "./render/error.ts";
import { renderJson } from "./render/json.ts";
import { startProgress } from "./render/progress.ts";
import { type Style, styleFor } from "./render/style.ts";
import { printable } from "./render/text.ts";
import type { Terminal } from "./terminal.ts";

/** Flags that every verb takes. */
export interface GlobalFlags {
  store?: string;
  json?: boolean;
  quiet?: boolean;
}

export interface SessionParts {
  terminal: Terminal;
  /** Aborted by the first interrupt. */
  signal: AbortSignal;
  /** Called when a command first needs a store, so that help and usage errors load nothing. */
  loadLibrary: () => Promise<Library>;
  /** The same for critical state alone. */
  loadCritical: () => Promise<CriticalLibrary>;
}

/** How a command reaches critical state; `mirror` and `witness` count where it has to open it itself. */
export type CriticalAccess = Pick<ReachOptions, "access" | "create" | "prepare" | "mirror" | "witness">;

const DEFAULT_STORE = "./.varve";

/** One run of the command line: what a command needs to reach the store, the user and the clock. */
export class Session {
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
  /** How to paint what goes to standard output. */
  readonly style: Style;
  /** Set by a command that ran to its end and has bad news (`check`). */
  exitCode: number = EXIT.ok;
  flags: GlobalFlags = {};
  readonly #loadLibrary: () => Promise<Library>;
  readonly #loadCritical: () => Promise<CriticalLibrary>;

  constructor({ terminal, signal, loadLibrary, loadCritical }: SessionParts) {
    this.terminal = terminal;
    this.signal = signal;
    this.style = styleFor(terminal.outIsTerminal, terminal.environment);
    this.#loadLibrary = loadLibrary;
    this.#loadCritical = loadCritical;
  }

  /** The store's directory: `--store`, else `VARVE_STORE`, else `./.varve`. */
  get storePath(): string {
    return resolve(this.flags.store ?? (this.terminal.environment["VARVE_STORE"] || DEFAULT_STORE));
  }

  get errorStyle(): Style {
    return styleFor(this.terminal.errIsTerminal, this.terminal.environment);
  }

  /** The library, loaded when a command first needs it. */
  library(): Promise<Library> {
    return this.#loadLibrary();
  }

  /** Opens the store, works on it and closes it whatever happens; the first error is the one that counts. */
  async withStore<T>(options: OpenOptions, work: (store: Store) => Promise<T> | T): Promise<T> {
    this.signal.throwIfAborted();
    const { openStore } = await this.library();
    const store = await openStore(this.storePath, {
      ...options,
      onError: (error) => this.warn(error),
    });
    let result: T;
    try {
      result = await work(store);
    } catch (error) {
      await store.close().catch((second: unknown) => this.warn(second));
      throw error;
    }
    await store.close();
    return result;
  }

  criticalLibrary(): Promise<CriticalLibrary> {
    return this.#loadCritical();
  }

  /** Works on critical state, in the engine that has it open or in the store at rest, and lets go of it. */
  async withCritical<T>(
    { access, create, prepare, mirror, witness }: CriticalAccess,
    work: (reached: ReachedCritical) => Promise<T>,
  ): Promise<T> {
    this.signal.throwIfAborted();
    const { reachCritical } = await this.criticalLibrary();
    const onWarning = (message: string) => this.remark(message);
    const options = given({ access, create, prepare, mirror, witness, onWarning });
    const reached = await reachCritical(this.storePath, options);
    let result: T;
    try {
      result = await work(reached);
    } catch (error) {
      await reached.close().catch((second: unknown) => this.warn(second));
      throw error;
    }
    await reached.close();
    return result;
  }

  /** Runs a long call with the run's signal and a progress bar. */
  async running<T>(label: string, call: (running: Required<Running>) => Promise<T>): Promise<T> {
    const bar = startProgress(this.terminal, label, this.flags.json !== true && this.flags.quiet !== true);
    try {
      return await call({ signal: this.signal, onProgress: (progress) => bar.update(progress) });
    } finally {
      bar.clear();
    }
  }

  /** Prints what was asked for: as JSON, or as text. */
  report(data: unknown, text: () => string): void {
    this.terminal.writeOut(this.flags.json === true ? renderJson(data) : text());
  }

  /** Prints that something was done: as JSON, or as text unless `--quiet`. */
  done(data: unknown, text: () => string): void {
    if (this.flags.json === true) this.terminal.writeOut(renderJson(data));
    else if (this.flags.quiet !== true) this.terminal.writeOut(text());
  }

  /** A failure beside the one that ends the run. */
  warn(error: unknown): void {
    if (this.flags.quiet !== true) this.terminal.writeErr(renderError(error, this.errorStyle));
  }

  /** What went well and should be known all the same. */
  remark(message: string): void {
    if (this.flags.quiet === true) return;
    this.terminal.writeErr(`${this.errorStyle.yellow("warning:")} ${printable(message)}\n`);
  }

  /** Before anything is opened: a command that asks must have someone to ask. */
  requireConsent({ yes, dryRun }: { yes?: boolean; dryRun?: boolean }): void {
    if (yes === true || dryRun === true || this.terminal.inIsTerminal) return;
    throw new UsageError(
      "this deletes data and there is no terminal to ask on",
      "Pass --yes to go ahead, or --dry-run to see the plan.",
    );
  }

  /** Shows the plan and asks whether to go ahead. */
  async confirm(plan: string, question: string): Promise<boolean> {
    this.terminal.writeErr(plan);
    const answer = await this.terminal.ask(`${question} [y/N] `, this.signal);
    return /^y(es)?$/i.test(answer.trim());
  }
}
