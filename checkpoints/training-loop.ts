import type { Tensor } from "../formats/tensor.ts";
import { isStoreError } from "../src/errors.ts";
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
  readonly #ticket: SaveTicket | undefined;
  readonly #signal: AbortSignal | undefined;
  #extra: Pick<SaveOptions, "metrics" | "metadata" | "resume"> = {};
  #wanted = false;

  constructor(options: {
    step: number;
    resumed: Checkpoint | undefined;
    ticket: SaveTicket | undefined;
    signal: AbortSignal | undefined;
  }) {
    this.step = options.step;
    this.resumed = options.resumed;
    this.#ticket = options.ticket;
    this.#signal = options.signal;
  }

  /** Resolves when a tensor (or, without a name, every one) may be written: the last save has captured it. */
  async writable(name?: string): Promise<void> {
    throwIfAborted(this.#signal);
    if (this.#ticket === undefined) return;
    await (name === undefined ? this.#ticket.captured : this.#ticket.tensorCaptured(name));
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

  /** Saves at the end of this step, whatever `every` says. */
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
 * its end or by `break`, waits until every version is durable.
 */
export async function* trainingLoop(
  store: LoopStore,
  ref: string,
  tensors: Record<string, Tensor> | ReadonlyMap<string, Tensor>,
  options: LoopOptions = {},
): AsyncGenerator<TrainingStep, void, undefined> {
  const { steps = Number.POSITIVE_INFINITY, every, resume = true, onDurable, ...saveOptions } = options;
  const { signal } = saveOptions;
  const from = signal === undefined ? {} : { signal };
  let resumed = resume && store.has(ref) ? await store.restoreInto(ref, tensors, from) : undefined;
  let ticket: SaveTicket | undefined;
  let failure: unknown;
  const saving = new Set<Promise<unknown>>();
  const start = (resumed?.step ?? 0) + 1;
  try {
    for (let number = start; number <= steps; number++) {
      throwIfAborted(signal);
      const step = new TrainingStep({ step: number, resumed, ticket, signal });
      resumed = undefined;
      yield step;
      if (failure !== undefined) throw failure;
      const { wanted, extra } = step.request;
      if (!wanted && (every === undefined || number % every !== 0)) continue;
      const saved = store.save(ref, tensors, { ...saveOptions, ...extra, step: number });
      ticket = saved;
      const durable = saved.durable.then(
        (result) => onDurable?.(result),
        (error: unknown) => {
          if (!saved.skipped) failure ??= error;
        },
      );
      saving.add(durable);
      void durable.then(() => saving.delete(durable));
    }
  } finally {
    await Promise.all(saving);
  }
  if (failure !== undefined && !isStoreError(failure, "ERR_ABORTED")) throw failure;
}
