import type { CheckResult, Library, OpenOptions, RepairResult, Store } from "../../cli/library.ts";
import { runCli } from "../../cli/run.ts";
import type { Terminal } from "../../cli/terminal.ts";
import { compressionOfName, formatOfName } from "../../formats/tables/files.ts";
import { StoreError } from "../../src/errors.ts";

export interface Outcome {
  exitCode: number;
  out: string;
  err: string;
}

export interface Stage {
  run(...argv: string[]): Promise<Outcome>;
  /** Every call of the library: its name and arguments, without the parts each long call gets. */
  calls: [name: string, ...parameters: unknown[]][];
  controller: AbortController;
  /** What the clock shows; moved by tests. */
  clock: { nowMs: number };
  opened: { directory: string; options: OpenOptions }[];
  libraryLoads: number;
  closes: number;
}

export interface Props {
  /** What the library answers; a missing answer is `undefined`. */
  answers?: Record<string, (...parameters: never[]) => unknown>;
  open?: (directory: string, options: OpenOptions) => void;
  close?: () => void;
  terminal?: Partial<Terminal>;
  /** What the user types when asked. */
  reply?: string;
  environment?: Record<string, string>;
}

const NOT_RECORDED = new Set(["signal", "onProgress"]);

function recorded(parameter: unknown): unknown {
  if (typeof parameter !== "object" || parameter === null || Array.isArray(parameter)) return parameter;
  return Object.fromEntries(Object.entries(parameter).filter(([key]) => !NOT_RECORDED.has(key)));
}

/** A command line with a library and a terminal made of paper: what it calls and prints is kept. */
export function setStage(props: Props = {}): Stage {
  const stage: Stage = {
    calls: [],
    controller: new AbortController(),
    clock: { nowMs: 0 },
    opened: [],
    libraryLoads: 0,
    closes: 0,
    async run(...argv) {
      let out = "";
      let err = "";
      const terminal: Terminal = {
        writeOut: (text) => {
          out += text;
        },
        writeErr: (text) => {
          err += text;
        },
        inIsTerminal: props.reply !== undefined,
        outIsTerminal: false,
        errIsTerminal: false,
        columns: 80,
        environment: props.environment ?? {},
        nowMs: () => stage.clock.nowMs,
        ask: async (question) => {
          err += question;
          return props.reply ?? "";
        },
        ...props.terminal,
      };
      const loadLibrary = async () => {
        stage.libraryLoads++;
        return library;
      };
      const loadCritical = () => import("../../open-critical.ts");
      const { signal } = stage.controller;
      const exitCode = await runCli(argv, { terminal, signal, loadLibrary, loadCritical });
      return { exitCode, out, err };
    },
  };

  const answer =
    (name: string) =>
    (...parameters: unknown[]) => {
      stage.calls.push([name, ...parameters.map(recorded)]);
      return props.answers?.[name]?.(...(parameters as never[]));
    };
  const names = [
    "saveFiles",
    "restoreFiles",
    "refs",
    "log",
    "show",
    "encodings",
    "serve",
    "recompress",
    "readResume",
    "diff",
    "tag",
    "prune",
    "follow",
    "pin",
    "unpin",
  ];
  const store = {
    checkpoints: Object.fromEntries(names.map((name) => [name, answer(name)])),
    ...Object.fromEntries(["gc", "stats"].map((name) => [name, answer(name)])),
    close: async () => {
      stage.closes++;
      props.close?.();
    },
  } as unknown as Store;
  const library: Library = {
    compressionOfName,
    formatOfName,
    StoreError,
    inferFileRecipes: async (path, options) => answer("inferFileRecipes")(path, options) as never,
    openStore: async (directory, options) => {
      stage.opened.push({ directory, options });
      props.open?.(directory, options);
      return store;
    },
    checkStore: async (_directory, options) => answer("check")(options) as CheckResult,
    repairStore: async (_directory, options) => answer("repair")(options) as RepairResult,
  };
  return stage;
}
