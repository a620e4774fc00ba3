import type { ErrorRecord } from "../../src/errors.ts";
import type { Column } from "../tables/table.ts";
import type { DecodeStep } from "./decode.ts";

/** Bounds of the process that decodes; what they are for stands in src/limits/formats.ts. */
export interface DecodeLimits {
  stepMs: number;
  heapBytes: number;
  memoryBytes: number;
}

/** What the process is started with, as JSON; the file's bytes come by its standard input. */
export interface DecodeStart {
  batchRows?: number;
  stepMs: number;
  /** Memory of the whole process. */
  memoryBytes: number;
}

/** What it tells: each step before it is taken, a batch column by column, then its rows; at the end that it is done. */
export type DecodeReply =
  | { step: DecodeStep }
  | { column: Column }
  | { rows: number }
  | { done: true }
  | { failed: ErrorRecord };

/** How the guard ends the process: for its time, which nothing else does, and for its memory, as the system would. */
export const OUT_OF_TIME = "SIGXCPU";
export const OUT_OF_MEMORY = "SIGKILL";
