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

/** The first message: the model, in shared memory. */
export interface OpenRequest {
  model: Uint8Array;
}

export interface RunRequest {
  id: number;
  inputs: Record<string, Tensor>;
}

export type SessionReply =
  | { opened: ModelSignature }
  | { failed: ErrorRecord }
  | { id: number; outputs: Record<string, Tensor> }
  | { id: number; error: ErrorRecord };
