import type { SaveResult } from "./save.ts";

/** A save under way. `save` returns it at once; the promises tell how far it is. */
export interface SaveTicket {
  /** Every tensor may be overwritten from here on. Until then they must not change. */
  readonly captured: Promise<void>;
  /** The version would survive a power cut from here on. Whoever takes this promise is told by it alone of a failure. */
  readonly durable: Promise<SaveResult>;
  /** Milliseconds the calling thread has spent copying memory that is not shared; final once `captured` resolves. */
  readonly copyMs: number;
  /** Left out because of `onPressure: "skip"`: the tensors were not read, and `durable` rejects with `ERR_ABORTED`. */
  readonly skipped: boolean;
  /**
   * Resolves when one tensor may be overwritten: what a loop waits for just before it next writes that tensor.
   * @throws `ERR_NOT_FOUND` for a tensor that is not among those saved
   */
  tensorCaptured(name: string): Promise<void>;
}

export interface TicketOptions {
  /** The save, told when the tensors may be overwritten. */
  run: (onCaptured: () => void) => Promise<SaveResult>;
  /** Told of a failure that nobody was watching for. */
  onUnobserved: (error: unknown) => void;
  copyMs: () => number;
  tensorCaptured: (name: string) => Promise<void>;
}

/**
 * Starts a save. A failure rejects `durable`, and `captured` unless that has resolved. When nobody has asked for a
 * promise that tells of it (`captured` alone tells nothing of what fails after it), the failure is handed to
 * `onUnobserved` instead of becoming an unhandled rejection that would end the process.
 */
export function startSave({ run, onUnobserved, copyMs, tensorCaptured }: TicketOptions): SaveTicket {
  let resolveCaptured = () => {};
  let rejectCaptured = (_error: unknown) => {};
  const captured = new Promise<void>((resolve, reject) => {
    resolveCaptured = resolve;
    rejectCaptured = reject;
  });
  let isCaptured = false;
  let capturedAsked = false;
  let durableAsked = false;
  const durable = run(() => {
    isCaptured = true;
    resolveCaptured();
  });
  captured.catch(() => {});
  durable.then(
    () => resolveCaptured(),
    (error: unknown) => {
      rejectCaptured(error);
      if (!durableAsked && (isCaptured || !capturedAsked)) onUnobserved(error);
    },
  );
  return {
    get captured() {
      capturedAsked = true;
      return captured;
    },
    get durable() {
      durableAsked = true;
      return durable;
    },
    get copyMs() {
      return copyMs();
    },
    skipped: false,
    tensorCaptured: (name) => {
      const fence = tensorCaptured(name);
      // Like `captured`: `durable`, or `onUnobserved`, tells of the failure.
      fence.catch(() => {});
      return fence;
    },
  };
}

/** The ticket of a save that was left out: nothing was read, and nothing will be there. */
export function skippedTicket(error: unknown): SaveTicket {
  const durable = Promise.reject(error);
  // Whoever chose to skip knows of it from `skipped`.
  durable.catch(() => {});
  const captured = Promise.resolve();
  return { captured, durable, copyMs: 0, skipped: true, tensorCaptured: () => captured };
}
