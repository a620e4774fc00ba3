import type { LogRecord } from "./change.ts";
import { BLOCK_RAW_BYTES, BLOCK_RAW_BYTES_BUSY } from "./history-format.ts";
import { blockRecords, type PastRecord } from "./history-reader.ts";
import { type BlockMemory, createBlockMemory, HistoryBlockWriter } from "./history-writer.ts";

/** Memory that a very large record has made larger is not kept for another block. */
const KEPT_BYTES_MAX = 2 << 20;
/** Memory of sealed blocks that waits for the next ones. */
const KEPT_MAX = 4;

/** A block that fills in less is one of a burst, and grows on. */
const BURST_MS = 50;

interface Pending {
  writer: HistoryBlockWriter;
  memory: BlockMemory;
  beganMs: number;
  rawBytes: number;
}

/**
 * Committed records until they are sealed: written into the raw bytes of the history's next blocks as they come, so
 * that nothing of what a commit made or replaced is held for them. A block ends once it is full; in a burst it may
 * become larger, which costs less for each record.
 */
export class PendingBlocks {
  readonly #ended: Pending[] = [];
  #open: Pending | undefined;
  readonly #free: BlockMemory[] = [];

  /** Takes a durable record that has been applied. */
  add(record: LogRecord): void {
    this.#open ??= this.#begin();
    const open = this.#open;
    open.writer.add(record);
    if (!open.writer.isFull(open.rawBytes)) return;
    if (open.rawBytes === BLOCK_RAW_BYTES && performance.now() - open.beganMs < BURST_MS) {
      open.rawBytes = BLOCK_RAW_BYTES_BUSY;
    } else this.end();
  }

  /** Ends the block that is being filled, if there is one. */
  end(): void {
    if (this.#open === undefined) return;
    this.#ended.push(this.#open);
    this.#open = undefined;
  }

  /** The oldest block that has ended. */
  get first(): HistoryBlockWriter | undefined {
    return this.#ended[0]?.writer;
  }

  /** The oldest block was sealed. */
  drop(): void {
    const { memory } = this.#ended.shift()!;
    if (memory.out.buffer.byteLength <= KEPT_BYTES_MAX && this.#free.length < KEPT_MAX)
      this.#free.push(memory);
  }

  /** LSN of the oldest record, if there is one, and of the newest. */
  get firstLsn(): number | undefined {
    return (this.#ended[0] ?? this.#open)?.writer.firstLsn;
  }

  get lastLsn(): number | undefined {
    return (this.#open ?? this.#ended.at(-1))?.writer.lastLsn;
  }

  get records(): number {
    return this.#all().reduce((sum, { writer }) => sum + writer.records, 0);
  }

  get sizeBytes(): number {
    return this.#all().reduce((sum, { writer }) => sum + writer.raw().byteLength, 0);
  }

  /** Every record there is now, oldest first; what happens later does not touch them. */
  past(): Iterable<PastRecord> {
    const blocks = this.#all().map(({ writer }) => Buffer.from(writer.raw()));
    return (function* () {
      for (const raw of blocks) yield* blockRecords(raw, "not sealed yet");
    })();
  }

  #all(): Pending[] {
    return this.#open === undefined ? this.#ended : [...this.#ended, this.#open];
  }

  #begin(): Pending {
    const memory = this.#free.pop() ?? createBlockMemory();
    return {
      writer: new HistoryBlockWriter(memory),
      memory,
      beganMs: performance.now(),
      rawBytes: BLOCK_RAW_BYTES,
    };
  }
}
