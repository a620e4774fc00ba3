import { touchPages } from "../disk/touch-pages.ts";
import { TABLE_ALIGNMENT } from "./format.ts";

/** Smaller tables are loaded before another thread has been woken. */
const EARLY_BYTES_MIN = 4 << 20;

/** Touched with one call: it goes on while this thread is busy with loading code, and ends soon after it is not. */
const STEP_BYTES = 16 << 20;

/** Buffers of a column, each on a boundary: values, offsets, validity. */
const BUFFERS_PER_COLUMN = 3;

/**
 * Memory for a table that is about to be loaded, touched by another thread from its start on while this one opens the
 * index and reads the manifest: a first touch of every page costs as much as reading what goes there.
 */
export class EarlyMemory {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #ended: Promise<void>;
  #wanted = true;
  #touchedBytes = 0;

  private constructor(sizeBytes: number) {
    this.#bytes = new Uint8Array(sizeBytes);
    this.#ended = this.#touch();
  }

  /**
   * For a table of so many bytes, as it was counted when it was published; `undefined` where it is not worth it, or
   * where there is no such memory: whoever loads the table then says so.
   */
  static begin({ rawBytes, columns }: { rawBytes: number; columns: number }): EarlyMemory | undefined {
    if (rawBytes < EARLY_BYTES_MIN) return undefined;
    try {
      return new EarlyMemory(rawBytes + columns * BUFFERS_PER_COLUMN * TABLE_ALIGNMENT);
    } catch (error) {
      if (error instanceof RangeError) return undefined;
      throw error;
    }
  }

  /** No more is touched than what has been begun. */
  stop(): void {
    this.#wanted = false;
  }

  /** The zeroed memory, of which nothing is written by others any more, and how far it has been touched. */
  async settled(): Promise<{ buffer: ArrayBuffer; touchedBytes: number }> {
    this.stop();
    await this.#ended;
    return { buffer: this.#bytes.buffer, touchedBytes: this.#touchedBytes };
  }

  async #touch(): Promise<void> {
    while (this.#wanted && this.#touchedBytes < this.#bytes.length) {
      const step = this.#bytes.subarray(this.#touchedBytes, this.#touchedBytes + STEP_BYTES);
      await touchPages([step]);
      this.#touchedBytes += step.length;
    }
  }
}
