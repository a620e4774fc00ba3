import { SYNC_STEP_BYTES } from "../limits.ts";
import type { DiskFile } from "./disk.ts";

/**
 * Syncs a file now and then while others write it, so that the last sync finds little left to do. Only `end` makes
 * anything durable that a caller may count on.
 */
export class SyncAlong {
  readonly #file: DiskFile;
  #unsyncedBytes = 0;
  #running: Promise<void> | undefined;
  /** The system tells of a failed sync once: later ones of the same file may succeed without the bytes. */
  #failure: { error: unknown } | undefined;

  constructor(file: DiskFile) {
    this.#file = file;
  }

  /** To be told of every write that has returned. Never waits, never throws. */
  wrote(sizeBytes: number): void {
    this.#unsyncedBytes += sizeBytes;
    if (this.#running !== undefined || this.#failure !== undefined) return;
    if (this.#unsyncedBytes < SYNC_STEP_BYTES) return;
    this.#unsyncedBytes = 0;
    this.#running = this.#file.sync().then(
      () => this.#ended(),
      (error: unknown) => this.#ended({ error }),
    );
  }

  #ended(failure?: { error: unknown }): void {
    this.#running = undefined;
    this.#failure = failure;
  }

  /** Waits for a sync that goes on: the file must stay open until then. Never throws. */
  async settle(): Promise<void> {
    await this.#running;
  }

  /** Makes all that was written durable. @throws what any of the syncs failed with. */
  async end(): Promise<void> {
    await this.settle();
    if (this.#failure !== undefined) throw this.#failure.error;
    await this.#file.sync();
  }
}
