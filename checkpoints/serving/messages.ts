import type { Tensor } from "../../formats/tensor.ts";
import type { ErrorRecord } from "../../src/errors.ts";

/** One input or output of a model, as its session describes it; an axis without a fixed size is `undefined`. */
export interface ModelValue {
  name: string;
  /** The runtime's name of the element type: `float32`, `int64`. */
  type: string;
  shape: (number | undefined)[];
}

export interface ModelSignature {
  inputs: ModelValue[];
  outputs: ModelValue[];
}

/** What a session's thread is started with; the model follows when there is one. */
export interface SessionStart {
  /** Where the runtime's module is. */
  runtime: string;
  threads: number;
}

/** What a session is built from. */
export interface ModelBytes {
  /** The ONNX file, in shared memory. */
  model: Uint8Array;
  /** External data by the places the model names, in shared memory. */
  external: { path: string; data: Uint8Array }[];
}

export interface RunRequest {
  id: number;
  inputs: Record<string, Tensor>;
}

/** A thread has one session at a time: it is opened, runs, and is released before the next is opened. */
export type SessionRequest = { open: ModelBytes } | RunRequest | "release";

export type SessionReply =
  | { opened: ModelSignature }
  | { failed: ErrorRecord }
  | { released: true }
  | { id: number; outputs: Record<string, Tensor> }
  | { id: number; error: ErrorRecord };
