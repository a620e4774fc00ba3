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
 * Starts a save. A failure rejects `captured` and `durable`; when nobody has asked for either, it is handed to
 * `onUnobserved` instead of becoming an unhandled rejection that would end the process.
 */
export function startSave({ run, onUnobserved }: TicketOptions): SaveTicket {
  let resolveCaptured = () => {};
  let rejectCaptured = (_error: unknown) => {};
  const captured = new Promise<void>((resolve, reject) => {
    resolveCaptured = resolve;
    rejectCaptured = reject;
  });
  let observed = false;
  let copyMs = 0;
  const durable = run({
    onCaptured: resolveCaptured,
    onCopied: (ms) => {
      copyMs += ms;
    },
  });
  captured.catch(() => {});
  durable.then(
    () => resolveCaptured(),
    (error: unknown) => {
      rejectCaptured(error);
      if (!observed) onUnobserved(error);
    },
  );
  return {
    get captured() {
      observed = true;
      return captured;
    },
    get durable() {
      observed = true;
      return durable;
    },
    get copyMs() {
      return copyMs;
    },
  };
}
