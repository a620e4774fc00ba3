import type { Capture } from "../src/capture/capture.ts";
import type { Captures } from "../src/capture/captures.ts";
import type { Fences } from "../src/capture/fences.ts";
import type { KeptSpool } from "../src/capture/spool-files.ts";
import { StoreError } from "../src/errors.ts";
import type { Engine } from "../src/store.ts";
import { throwIfAborted } from "./aborted.ts";
import type { Registry } from "./registry.ts";
import type { SaveOptions, SaveRequest, SaveResult } from "./save.ts";
import { SaveTail } from "./save-tail.ts";
import type { SourceFile } from "./source.ts";
import { digestsNow, type TensorSource } from "./tensor-source.ts";
import { type SaveTicket, skippedTicket, startSave } from "./ticket.ts";
import { TouchedCapture } from "./touched-capture.ts";
import { markTouched, type TouchedRows } from "./touched-rows.ts";
import { checkSave } from "./version-fields.ts";

export interface SaveQueueOptions {
  engine: Engine;
  registry: Registry;
  captures: Captures;
  /** Whether saves are strict unless they say otherwise. */
  strict: boolean;
  /** Told of a save that failed while nobody was watching its ticket. */
  onError: ((error: unknown) => void) | undefined;
  /** Told of every version once it is durable. */
  onDurable: (result: SaveResult) => void;
}

/** One way to capture a save's tensors: all of them, or their touched rows. */
interface Taking {
  sizeBytes: number;
  /** Starts to read the tensors. */
  begin(): { fences: Fences; copyMs: number };
  /** Resolves, once everything is captured and earlier saves of the ref have ended, to what is to be stored. */
  file(before: Promise<void> | undefined, onCaptured: () => void): Promise<SourceFile>;
  /** What was captured is stored; what the next save may be encoded against is kept. */
  keep(): KeptSpool | undefined;
  /** What the save before kept is needed no more. */
  giveUp(kept: KeptSpool): void;
  end(): Promise<void>;
}

/**
 * Saves under way. Capturing begins at once, or as soon as there is room; what follows (encoding, writing, moving the
 * ref) waits for earlier saves of the same ref, and runs beside those of other refs.
 */
export class SaveQueue {
  readonly #options: SaveQueueOptions;
  /** By ref: resolves when its saves so far have ended, however. */
  readonly #last = new Map<string, Promise<void>>();
  /** By ref: what touched rows are relative to. */
  readonly #tails = new Map<string, SaveTail>();
  #unobserved: { ref: string; error: unknown } | undefined;

  constructor(options: SaveQueueOptions) {
    this.#options = options;
  }

  /** Saves tensors; their memory is captured from the moment of the call on. */
  saveTensors(ref: string, source: TensorSource, given: SaveOptions): SaveTicket {
    this.#throwUnobserved(ref);
    const invalid = faultOf(() => checkSave(ref, given));
    if (invalid !== undefined) return this.#failed(ref, invalid);
    const options = ownCopy(given);
    const { captures } = this.#options;
    const tail = this.#tails.get(ref);
    const depthOf = (digest: Uint8Array) => this.#options.engine.chunks.index.get(digest)?.depth;
    if (options.touched !== undefined && tail === undefined) markTouched(source, options.touched);
    const marked = options.touched && tail?.mark(source, options.touched, depthOf);
    const sizeBytes = marked?.sizeBytes ?? source.plan.sizeBytes;
    const hasRoom = captures.hasRoom(sizeBytes);
    if (!hasRoom && options.onPressure === "skip") {
      captures.noteSkip();
      // What this save would have held is missing from the next one's rows.
      this.#tails.delete(ref);
      return skippedTicket(skipped(ref));
    }
    const expected = (options.strict ?? this.#options.strict) ? digestsNow(source) : undefined;
    const taking =
      marked === undefined
        ? this.#takeAll(source, tail, expected)
        : this.#takeTouched({ ref, source, marked, tail: tail!, expected });
    const now = new SaveTail(source, marked === undefined ? undefined : tail);
    this.#tails.set(ref, now);
    now.refs.catch(() => {
      // The next save stores everything.
      if (this.#tails.get(ref) === now) this.#tails.delete(ref);
    });
    return this.#begin({ ref, options, taking, hasRoom, tail: now, tailBefore: tail, partOf: source.partOf });
  }

  #takeAll(source: TensorSource, tail: SaveTail | undefined, expected: Uint8Array[] | undefined): Taking {
    const { captures } = this.#options;
    const { plan, file } = source;
    let capture: Capture | undefined;
    return {
      sizeBytes: plan.sizeBytes,
      begin: () => {
        capture = captures.begin(plan, tail?.isOf(source) ? tail.kept : undefined);
        return capture;
      },
      file: async (before, onCaptured) => {
        await capture!.captured;
        onCaptured();
        await before;
        const kept = tail?.isOf(source) ? tail.kept : undefined;
        return { ...file, origin: { capture: capture!, plan, before: kept, ...(expected && { expected }) } };
      },
      keep: () => captures.keep(capture!),
      giveUp: (kept) => captures.drop(kept),
      end: async () => capture?.end(),
    };
  }

  #takeTouched(taking: {
    ref: string;
    source: TensorSource;
    marked: TouchedRows;
    tail: SaveTail;
    expected: Uint8Array[] | undefined;
  }): Taking {
    const { ref, source, marked, tail, expected } = taking;
    const { captures, engine, registry } = this.#options;
    let capture: TouchedCapture | undefined;
    return {
      sizeBytes: marked.sizeBytes,
      begin: () => {
        capture = new TouchedCapture(engine.pool, source, marked);
        captures.note(marked.sizeBytes);
        return capture;
      },
      file: async (before, onCaptured) => {
        const touched = await capture!.chunks;
        onCaptured();
        await before;
        const base = await tail.refs.catch((error: unknown) => {
          throw baseFailed(error);
        });
        const isBaseKept = () => registry.get(ref, tail.version!) !== undefined;
        const origin = { touched, base, isBaseKept, planned: source.chunks, ...(expected && { expected }) };
        return { ...source.file, origin };
      },
      keep: () => undefined,
      // Rows follow on rows: nothing of a learner's is encoded against what was captured whole.
      giveUp: (kept) => captures.discard(kept),
      end: async () => {
        await capture?.chunks.catch(() => {});
      },
    };
  }

  /** The ticket of a save whose tensors are captured now, or as soon as there is room. */
  #begin(begin: {
    ref: string;
    options: SaveOptions;
    taking: Taking;
    hasRoom: boolean;
    tail: SaveTail;
    tailBefore: SaveTail | undefined;
    partOf: ReadonlyMap<string, number>;
  }): SaveTicket {
    const { ref, options, taking, hasRoom, tail, tailBefore, partOf } = begin;
    const { captures } = this.#options;
    let begun: { fences: Fences; copyMs: number } | undefined;
    const start = () => {
      try {
        begun = taking.begin();
      } catch (error) {
        captures.leave(taking.sizeBytes);
        throw error;
      }
      options.signal?.addEventListener("abort", stop, { once: true });
      if (options.signal?.aborted) stop();
    };
    const stop = () => begun?.fences.fail(faultOf(() => throwIfAborted(options.signal)));
    let entered: Promise<void> | undefined;
    if (hasRoom) {
      captures.enter(taking.sizeBytes);
      const failure = faultOf(start);
      if (failure !== undefined) {
        tail.reject(failure);
        return this.#failed(ref, failure);
      }
    } else {
      entered = captures.enterLater(taking.sizeBytes, options.signal).then(start);
      entered.catch(() => {});
    }
    const before = this.#last.get(ref);
    return this.#ticket(ref, {
      copyMs: () => begun?.copyMs ?? 0,
      tensorCaptured: async (name) => {
        const part = partOf.get(name);
        if (part === undefined) throw unknownTensor(JSON.stringify(name));
        await entered;
        return begun!.fences.partCaptured(part);
      },
      run: async (onCaptured) => {
        try {
          await entered;
        } catch (error) {
          tail.reject(error);
          throw error;
        }
        try {
          const file = await taking.file(before, onCaptured);
          const result = await this.#store(ref, [file], {
            ...options,
            onStored: ([first], version) => tail.resolve(first!.chunks, version),
          });
          if (tailBefore?.kept !== undefined) taking.giveUp(tailBefore.kept);
          tail.kept = taking.keep();
          return result;
        } catch (error) {
          tail.reject(error);
          throw error;
        } finally {
          options.signal?.removeEventListener("abort", stop);
          await taking.end();
          captures.leave(taking.sizeBytes);
        }
      },
    });
  }

  /** Saves files from the disk; they are read when their turn comes. */
  saveFiles(ref: string, files: SourceFile[], given: SaveOptions): SaveTicket {
    this.#throwUnobserved(ref);
    const invalid = faultOf(() => checkSave(ref, given));
    if (invalid !== undefined) return this.#failed(ref, invalid);
    const options = ownCopy(given);
    const before = this.#last.get(ref);
    return this.#ticket(ref, {
      copyMs: () => 0,
      tensorCaptured: () => Promise.reject(unknownTensor("a tensor")),
      run: async (onCaptured) => {
        await before;
        const result = await this.#store(ref, files, options);
        onCaptured();
        return result;
      },
    });
  }

  async #store(
    ref: string,
    files: SourceFile[],
    options: SaveOptions & Pick<SaveRequest, "onStored">,
  ): Promise<SaveResult> {
    const { engine, registry } = this.#options;
    await engine.openChunks();
    const { saveVersion } = await import("./save.ts");
    return saveVersion(engine, registry, { ...options, ref, files });
  }

  #ticket(ref: string, parts: Omit<Parameters<typeof startSave>[0], "onUnobserved">): SaveTicket {
    const run = (onCaptured: () => void) => {
      const before = this.#last.get(ref);
      const saving = parts.run(onCaptured);
      saving.then(this.#options.onDurable, () => {});
      // Both: one that fails early must not let the next one pass those before it.
      const ended = Promise.allSettled([before, saving]).then(() => {
        if (this.#last.get(ref) === ended) this.#last.delete(ref);
      });
      this.#last.set(ref, ended);
      return saving;
    };
    const onUnobserved = (error: unknown) => {
      this.#unobserved = { ref, error };
      const { onError = warn } = this.#options;
      onError(error);
    };
    return startSave({ ...parts, run, onUnobserved });
  }

  #failed(ref: string, error: unknown): SaveTicket {
    return this.#ticket(ref, {
      copyMs: () => 0,
      tensorCaptured: () => Promise.reject(error),
      run: () => Promise.reject(error),
    });
  }

  #throwUnobserved(ref: string): void {
    const failed = this.#unobserved;
    if (failed === undefined) return;
    this.#unobserved = undefined;
    const reason = failed.error instanceof Error ? failed.error.message : String(failed.error);
    throw new StoreError("ERR_ABORTED", `an earlier save of ${failed.ref} failed unnoticed: ${reason}`, {
      context: { ref: failed.ref, refused: ref },
      cause: failed.error,
      hint: "That version is not there. Await `durable`, or pass `onError`, to hear of failures; then save again.",
    });
  }

  /** Resolves when every save begun so far has ended, however. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#last.values());
  }
}

/** The rows a save named are relative to one that failed. */
function baseFailed(cause: unknown): StoreError {
  return new StoreError("ERR_ABORTED", "the save that the touched rows are relative to failed", {
    cause,
    hint: "Save again: the next save stores everything.",
  });
}

/** Without `onError`, and without another save of the handle, nobody else would ever say so. */
function warn(error: unknown): void {
  const reason = error instanceof Error ? error.message : String(error);
  process.emitWarning(`a save failed, and nobody waited for it: ${reason}`, "VarveWarning");
}

function unknownTensor(name: string): StoreError {
  return new StoreError("ERR_NOT_FOUND", `${name} is not among the tensors of this save`);
}

function skipped(ref: string): StoreError {
  return new StoreError(
    "ERR_ABORTED",
    `the save of ${ref} was skipped: earlier ones are not on the disk yet`,
    {
      context: { ref },
      retryable: true,
      hint: 'Save less often, allow more `spoolBytes`, or wait with `onPressure: "wait"`.',
    },
  );
}

function faultOf(check: () => void): unknown {
  try {
    check();
    return undefined;
  } catch (error) {
    return error;
  }
}

/** The caller may reuse what it gave for a version's fields as soon as `save` has returned. */
function ownCopy(options: SaveOptions): SaveOptions {
  const { metrics, metadata, resume } = options;
  return {
    ...options,
    ...(metrics === undefined ? {} : { metrics: { ...metrics } }),
    ...(metadata === undefined ? {} : { metadata: { ...metadata } }),
    ...(resume === undefined ? {} : { resume: new Uint8Array(resume) }),
  };
}
