import type { Tensor } from "../formats/tensor.ts";
import { checkOptions, type OptionRule, whole } from "../src/options.ts";
import { throwIfAborted } from "./aborted.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { SaveOptions, SaveResult } from "./save.ts";
import type { NamedTensors } from "./tensor-source.ts";
import type { SaveTicket } from "./ticket.ts";

export interface LoopOptions extends Omit<SaveOptions, "step" | "metrics" | "resume" | "parent"> {
  /** The last step. Default: without end, until `signal` or `break`. */
  steps?: number;
  /** Save at the end of every step whose number this divides. Default: only when `step.save()` asks for it. */
  every?: number;
  /** Go on after the ref's newest version, if it has one: its tensors are restored first. Default: true. */
  resume?: boolean;
  /** Told of every version once it is durable. */
  onDurable?: (result: SaveResult) => void;
}

/** What a loop needs of the store. */
export interface LoopStore {
  has(ref: string): boolean;
  save(ref: string, tensors: NamedTensors, options: SaveOptions): SaveTicket;
  restoreInto(
    selector: string,
    tensors: NamedTensors,
    options: { signal?: AbortSignal },
  ): Promise<Checkpoint>;
}

/** One step of a training loop. */
export class TrainingStep {
  /** From 1 on, or from after the version that was resumed. */
  readonly step: number;
  /** The version the loop went on from; only its first step has it. */
  readonly resumed: Checkpoint | undefined;
  readonly #uncaptured: ReadonlySet<SaveTicket>;
  readonly #signal: AbortSignal | undefined;
  #extra: Pick<SaveOptions, "metrics" | "metadata" | "resume"> = {};
  #wanted = false;

  constructor(options: {
    step: number;
    resumed: Checkpoint | undefined;
    uncaptured: ReadonlySet<SaveTicket>;
    signal: AbortSignal | undefined;
  }) {
    this.step = options.step;
    this.resumed = options.resumed;
    this.#uncaptured = options.uncaptured;
    this.#signal = options.signal;
  }

  /** Resolves when a tensor (or, without a name, every one) may be written: all saves before have captured it. */
  async writable(name?: string): Promise<void> {
    throwIfAborted(this.#signal);
    await Promise.all(
      [...this.#uncaptured].map((save) => (name === undefined ? save.captured : save.tensorCaptured(name))),
    );
  }

  /** Runs what writes the tensors, once it may. Everything that only reads them may run before. */
  async update<T>(write: () => T | Promise<T>): Promise<T> {
    await this.writable();
    return write();
  }

  /** What goes with the version that is saved at the end of this step; later calls add to earlier ones. */
  report({ metrics, metadata, resume }: Pick<SaveOptions, "metrics" | "metadata" | "resume">): void {
    if (metrics !== undefined) this.#extra.metrics = { ...this.#extra.metrics, ...metrics };
    if (metadata !== undefined) this.#extra.metadata = { ...this.#extra.metadata, ...metadata };
    if (resume !== undefined) this.#extra.resume = resume;
  }

  /**
   * Saves at the end of this step, whatever `every` says. A step that is left by `break` has no end: to save it and
   * stop, save, `continue`, and leave at the beginning of the next one.
   */
  save(extra: Pick<SaveOptions, "metrics" | "metadata" | "resume"> = {}): void {
    this.report(extra);
    this.#wanted = true;
  }

  /** @internal */
  get request(): { wanted: boolean; extra: Pick<SaveOptions, "metrics" | "metadata" | "resume"> } {
    return { wanted: this.#wanted, extra: this.#extra };
  }
}

/**
 * The steps of a training loop that saves as it goes. A failed save is thrown at the next step; leaving the loop, by
 * its end or by `break`, waits until every version is durable, and throws if one is not.
 */
export async function* trainingLoop(
  store: LoopStore,
  ref: string,
  tensors: Record<string, Tensor> | ReadonlyMap<string, Tensor>,
  options: LoopOptions = {},
): AsyncGenerator<TrainingStep, void, undefined> {
  const { steps = Number.POSITIVE_INFINITY, every, resume = true, onDurable, ...saveOptions } = options;
  checkOptions("loop", options, { steps: STEPS, every: whole(1) });
  const { signal } = saveOptions;
  const from = signal === undefined ? {} : { signal };
  let resumed = resume && store.has(ref) ? await store.restoreInto(ref, tensors, from) : undefined;
  /** Not only the last one: a save that was skipped after it says nothing of what it still reads. */
  const uncaptured = new Set<SaveTicket>();
  let failure: unknown;
  const saving = new Set<Promise<unknown>>();
  const settle = async () => {
    await Promise.all(saving);
    if (failure !== undefined) throw failure;
  };
  const start = (resumed?.step ?? 0) + 1;
  try {
    for (let number = start; number <= steps; number++) {
      throwIfAborted(signal);
      const step = new TrainingStep({ step: number, resumed, uncaptured, signal });
      resumed = undefined;
      yield step;
      if (failure !== undefined) throw failure;
      const { wanted, extra } = step.request;
      if (!wanted && (every === undefined || number % every !== 0)) continue;
      const saved = store.save(ref, tensors, { ...saveOptions, ...extra, step: number });
      if (saved.skipped) continue;
      uncaptured.add(saved);
      // One that fails stays: whoever waits for it is told.
      saved.captured.then(
        () => uncaptured.delete(saved),
        () => {},
      );
      const durable = saved.durable
        .then((result) => onDurable?.(result))
        .catch((error: unknown) => {
          failure ??= error;
        });
      saving.add(durable);
      void durable.then(() => saving.delete(durable));
    }
  } finally {
    // Also when the loop is left by `break`: otherwise nobody would hear that the last version is not there.
    await settle();
  }
}

const WHOLE = whole(0);
/** Without end, too. */
const STEPS: OptionRule = {
  may: WHOLE.may,
  allows: (value) => value === Number.POSITIVE_INFINITY || WHOLE.allows(value),
};
