import type { Disk } from "../disk/disk.ts";
import { findWriter } from "../disk/lock.ts";
import { isStoreError, StoreError } from "../errors.ts";
import { WAL_SEGMENT_BLOCKS } from "../limits.ts";
import { blockHash } from "./block-hash.ts";
import { advance, type ChainEnd, chainFrom, links, type SoundBlock, soundBlock } from "./chain.ts";
import type { JournalEntry } from "./journal.ts";
import { RecordAssembler } from "./reader.ts";
import { type Recovery, recover } from "./recovery.ts";
import { listSegments, SegmentReader } from "./segments.ts";

export interface FollowOptions {
  disk: Disk;
  directory: string;
  /** Refuses blocks of another store. */
  storeId?: Uint8Array;
  /** The first record wanted; from the log's beginning by default. */
  fromLsn?: bigint;
}

/** Looks at a moving log: what seems damaged may only have been read while it was written. */
const LOOKS = 5;

/**
 * Reads a log that another process may be writing. Beside a living writer it goes no further than what a block
 * says is durable (the last write shows once the next one, or the seal, is written); with none alive it shows
 * exactly what recovery would keep.
 */
export class LogFollower {
  readonly #options: FollowOptions;
  #end: ChainEnd | undefined;
  #segmentBlocks = WAL_SEGMENT_BLOCKS;
  #lsn: bigint;

  constructor(options: FollowOptions) {
    this.#options = options;
    this.#lsn = (options.fromLsn ?? 1n) - 1n;
  }

  /** LSN of the last record given out, or the one before the first wanted. */
  get lsn(): bigint {
    return this.#lsn;
  }

  /** The process that writes the log now. */
  get writer(): { pid: number } | undefined {
    return findWriter(this.#options.disk, this.#options.directory);
  }

  /**
   * Records that came since the last call, in order.
   *
   * @throws ERR_NOT_FOUND when the next record was trimmed meanwhile: begin anew from a snapshot;
   * ERR_STORE_CORRUPT for rot.
   */
  refresh(): JournalEntry[] {
    const isWritten = this.writer !== undefined;
    const recovery = this.#end === undefined || !isWritten ? this.#look() : undefined;
    if (this.#end === undefined) {
      if (recovery!.isEmpty) return [];
      this.#segmentBlocks = recovery!.segmentBlocks;
      this.#end = chainFrom(recovery!.logStart);
    }
    const { blocks, durableThrough } = this.#walk(this.#end);
    const through = isWritten ? durableThrough : recovery!.nextSequence - 1;
    const before = this.#end.nextSequence;
    const entries = this.#take(blocks, through);
    if (this.#end.nextSequence === before && blocks.length === 0) this.#checkNotTrimmed(before);
    return entries;
  }

  /** Every block that continues the chain from an end, which stays where it is. */
  #walk(from: ChainEnd): { blocks: SoundBlock[]; durableThrough: number } {
    const { disk, directory, storeId } = this.#options;
    const reader = new SegmentReader(disk, directory, this.#segmentBlocks);
    const end = { ...from };
    const blocks: SoundBlock[] = [];
    for (;;) {
      const block = soundBlock(reader, end.nextSequence, storeId);
      if (block === undefined || !links(end, block)) return { blocks, durableThrough: end.durableThrough };
      blocks.push(block);
      advance(end, block, blockHash(block.used));
    }
  }

  #take(blocks: SoundBlock[], through: number): JournalEntry[] {
    const end = this.#end!;
    const assembler = new RecordAssembler();
    const entries: JournalEntry[] = [];
    for (const block of blocks) {
      if (block.header.sequence > through) break;
      advance(end, block, blockHash(block.used));
      for (const entry of assembler.add(block.header, block.payload) ?? []) {
        if (entry.lsn <= this.#lsn) continue;
        if (entry.lsn !== this.#lsn + 1n && entries.length === 0) throw this.#trimmed(entry.lsn);
        this.#lsn = entry.lsn;
        entries.push(entry);
      }
    }
    return entries;
  }

  #look(): Recovery {
    const { disk, directory, storeId } = this.#options;
    const options = { disk, directories: [directory], segmentBlocks: this.#segmentBlocks };
    for (let look = 1; ; look++) {
      try {
        return recover(storeId === undefined ? options : { ...options, storeId });
      } catch (error) {
        if (look === LOOKS || this.writer === undefined || !isStoreError(error)) throw error;
      }
    }
  }

  #checkNotTrimmed(sequence: number): void {
    const lowest = listSegments(this.#options.disk, this.#options.directory)[0];
    if (lowest !== undefined && sequence < lowest * this.#segmentBlocks) throw this.#trimmed(undefined);
  }

  #trimmed(firstLsn: bigint | undefined): StoreError {
    return new StoreError("ERR_NOT_FOUND", `log record ${this.#lsn + 1n} was trimmed`, {
      context: { lsn: this.#lsn + 1n, firstLsn },
      retryable: true,
      hint: "Read the newest snapshot and follow the log from there.",
    });
  }
}
