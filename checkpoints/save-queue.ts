import type { Capture } from "../src/capture/capture.ts";
import type { Captures } from "../src/capture/captures.ts";
import { StoreError } from "../src/errors.ts";
import type { Engine } from "../src/store.ts";
import type { Registry } from "./registry.ts";
import type { SaveOptions, SaveResult } from "./save.ts";
import type { SourceFile } from "./source.ts";
import { digestsNow, type TensorSource } from "./tensor-source.ts";
import { type SaveTicket, skippedTicket, startSave } from "./ticket.ts";
import { checkSave } from "./version-fields.ts";

export interface SaveQueueOptions {
  engine: Engine;
  registry: Registry;
  captures: Captures;
  /** Whether saves are strict unless they say otherwise. */
  strict: boolean;
  /** Told of a save that failed while nobody was watching its ticket. */
  onError: ((error: unknown) => void) | undefined;
}

/** A capture that has begun, or one that waits for room. */
type Beginning = { capture: Capture } | { later: Promise<Capture> };

/**
 * Saves under way. Capturing begins at once, or as soon as there is room; what follows (encoding, writing, moving the
 * ref) waits for earlier saves of the same ref, and runs beside those of other refs.
 */
export class SaveQueue {
  readonly #options: SaveQueueOptions;
  /** By ref: resolves when its saves so far have ended, however. */
  readonly #last = new Map<string, Promise<void>>();
  #unobserved: { ref: string; error: unknown } | undefined;

  constructor(options: SaveQueueOptions) {
    this.#options = options;
  }

  /** Saves tensors; their memory is captured from the moment of the call on. */
  saveTensors(ref: string, source: TensorSource, given: SaveOptions): SaveTicket {
    this.#throwUnobserved(ref);
    const options = ownCopy(given);
    const invalid = faultOf(() => checkSave({ ...options, ref }));
    if (invalid !== undefined) return this.#failed(ref, invalid);
    const { captures } = this.#options;
    const hasRoom = captures.hasRoom(source.plan.sizeBytes);
    if (!hasRoom && options.onPressure === "skip") {
      captures.noteSkip();
      return skippedTicket(skipped(ref));
    }
    const expected = (options.strict ?? this.#options.strict) ? digestsNow(source) : undefined;
    const beginning: Beginning = hasRoom
      ? { capture: captures.begin(source.plan) }
      : { later: captures.beginLater(source.plan, options.signal) };
    const origin = (capture: Capture) => ({
      capture,
      plan: source.plan,
      ...(expected === undefined ? {} : { expected }),
    });
    const before = this.#last.get(ref);
    let begun = "capture" in beginning ? beginning.capture : undefined;
    return this.#ticket(ref, {
      copyMs: () => begun?.copyMs ?? 0,
      tensorCaptured: (name) => tensorCaptured(source, name, beginning),
      run: async (onCaptured) => {
        const capture = "capture" in beginning ? beginning.capture : await beginning.later;
        begun = capture;
        const stop = () => capture.stop();
        options.signal?.addEventListener("abort", stop, { once: true });
        if (options.signal?.aborted) stop();
        try {
          await capture.captured;
          onCaptured();
          await before;
          return await this.#store(ref, [{ ...source.file, origin: origin(capture) }], options);
        } finally {
          options.signal?.removeEventListener("abort", stop);
          await captures.end(capture, source.plan.sizeBytes);
        }
      },
    });
  }

  /** Saves files from the disk; they are read when their turn comes. */
  saveFiles(ref: string, files: SourceFile[], given: SaveOptions): SaveTicket {
    this.#throwUnobserved(ref);
    const options = ownCopy(given);
    const invalid = faultOf(() => checkSave({ ...options, ref }));
    if (invalid !== undefined) return this.#failed(ref, invalid);
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

  async #store(ref: string, files: SourceFile[], options: SaveOptions): Promise<SaveResult> {
    const { engine, registry } = this.#options;
    await engine.openChunks();
    const { saveVersion } = await import("./save.ts");
    return saveVersion(engine, registry, { ...options, ref, files });
  }

  #ticket(ref: string, parts: Omit<Parameters<typeof startSave>[0], "onUnobserved">): SaveTicket {
    const run = (onCaptured: () => void) => {
      const before = this.#last.get(ref);
      const saving = parts.run(onCaptured);
      // Both: one that fails early must not let the next one pass those before it.
      const ended = Promise.allSettled([before, saving]).then(() => {
        if (this.#last.get(ref) === ended) this.#last.delete(ref);
      });
      this.#last.set(ref, ended);
      return saving;
    };
    const onUnobserved = (error: unknown) => {
      this.#unobserved = { ref, error };
      this.#options.onError?.(error);
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

async function tensorCaptured(source: TensorSource, name: string, beginning: Beginning): Promise<void> {
  const part = source.partOf.get(name);
  if (part === undefined) throw unknownTensor(JSON.stringify(name));
  const capture = "capture" in beginning ? beginning.capture : await beginning.later;
  return capture.partCaptured(part);
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
