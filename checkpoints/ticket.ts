import type { SaveResult } from "./save.ts";

/** A save under way. `save` returns it at once; the promises tell how far it is. */
export interface SaveTicket {
  /** The tensors may be overwritten from here on. Until then they must not change. */
  readonly captured: Promise<void>;
  /** The version would survive a power cut from here on. */
  readonly durable: Promise<SaveResult>;
  /** Milliseconds the calling thread has spent copying memory that is not shared; final once `captured` resolves. */
  readonly copyMs: number;
}

export interface TicketOptions {
  /** The save, told when the tensors may be overwritten and how long copying held the thread. */
  run: (events: { onCaptured: () => void; onCopied: (copyMs: number) => void }) => Promise<SaveResult>;
  /** Told of a failure that nobody was watching for. */
  onUnobserved: (error: unknown) => void;
}

/**
 * Starts a save. A failure rejects `durable`, and `captured` unless that has resolved. When nobody has asked for a
 * promise that tells of it (`captured` alone tells nothing of what fails after it), the failure is handed to
 * `onUnobserved` instead of becoming an unhandled rejection that would end the process.
 */
export function startSave({ run, onUnobserved }: TicketOptions): SaveTicket {
  let resolveCaptured = () => {};
  let rejectCaptured = (_error: unknown) => {};
  const captured = new Promise<void>((resolve, reject) => {
    resolveCaptured = resolve;
    rejectCaptured = reject;
  });
  let isCaptured = false;
  let capturedAsked = false;
  let durableAsked = false;
  let copyMs = 0;
  const durable = run({
    onCaptured: () => {
      isCaptured = true;
      resolveCaptured();
    },
    onCopied: (ms) => {
      copyMs += ms;
    },
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
      return copyMs;
    },
  };
}
