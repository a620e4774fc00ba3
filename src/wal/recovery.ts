import { invariant } from "../assert.ts";
import type { Disk, DiskFile } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import type { RecoveryKernel } from "../kernels/recovery-kernel.ts";
import { RECOVERY_LOG_BYTES_MAX, WAL_SEGMENT_BLOCKS_MAX, WAL_SEGMENT_BLOCKS_MIN } from "../limits.ts";
import { blockHash, HASH_BYTES } from "./block-hash.ts";
import {
  advance,
  type ChainEnd,
  chainFrom,
  links,
  provesCompleted,
  type SoundBlock,
  soundBlock,
} from "./chain.ts";
import { ChainMemory } from "./chain-memory.ts";
import { BLOCK_BYTES, type BlockHeader, decodeBlock, sameBytes } from "./format.ts";
import { PlainChain } from "./plain-chain.ts";
import { RecordAssembler } from "./reader.ts";
import type { RecoveredLog } from "./record-places.ts";
import { type BlockReader, listSegments, SegmentReader, segmentName } from "./segments.ts";

/** What a look at the log's directories found; nothing is changed by looking. */
export interface Recovery {
  segmentBlocks: number;
  /** The log has no sound block at all: a new one. */
  isEmpty: boolean;
  nextSequence: number;
  /** LSN of the next record: one more than the last whole one. */
  nextLsn: number;
  /** Hash of the last good block; zeros for an empty log. */
  hash: Uint8Array;
  logStart: number;
  /** The highest epoch seen in any sound block, in the chain or not. */
  topEpoch: number;
  /** LSN of the first record that begins in each segment, by ordinal. */
  firstLsns: Map<number, number>;
  /** What the last sound blocks say is durable; a reader beside a living writer goes no further. */
  durableThrough: number;
  /** A write that was cut off at the end, and with it what was never acknowledged. */
  torn: { sequence: number; blocks: number } | undefined;
  /** The chain's blocks in the kernel's memory, for whoever reads the records next; not of a log with a mirror. */
  read: RecoveredLog | undefined;
  /** For each directory the places whose block differs from the chain, ascending. */
  repairs: number[][];
}

/** Blocks that stay in memory while a log and its mirror are compared: a full log of the usual size. */
const KEEP_BYTES = 32 << 20;

interface Copy {
  directory: string;
  segments: number[];
  reader: BlockReader;
  /** The highest epoch of a sound block at its place. */
  topEpoch: number;
}

export interface RecoverOptions {
  disk: Disk;
  /** The log's directory, then its mirror's if there is one. */
  directories: readonly string[];
  /** Refuses blocks of another store; without it any store's are read. */
  storeId?: Uint8Array;
  /** Segment size of a log that has no sound block yet. */
  segmentBlocks: number;
  /** Follows the chain as far as it is plain, several times faster in a process that has just begun. */
  kernel?: RecoveryKernel | undefined;
}

/**
 * Finds where the log ends: follows the chain from the oldest block still needed and, at the first place without
 * a good block, tells a torn write from rot.
 *
 * A later block that proves the bad place's write complete makes it rot: `ERR_STORE_CORRUPT`. Without such proof it
 * is the tail of a write that was never acknowledged, and the log ends before it. With a mirror each block may
 * come from either directory, as long as it links; a directory whose epoch is lower than the other's never says
 * where the log ends.
 *
 * @throws ERR_STORE_CORRUPT naming segment, block and LSN; ERR_STORE_VERSION for blocks of a later format.
 */
export function recover(options: RecoverOptions): Recovery {
  const segmentBlocks = geometry(options) ?? options.segmentBlocks;
  const kernel = options.directories.length === 1 ? options.kernel : undefined;
  let memory: ChainMemory | undefined;
  const copies = options.directories.map((directory): Copy => {
    const segments = listSegments(options.disk, directory);
    const reader = new SegmentReader(options.disk, directory, segmentBlocks, KEEP_BYTES);
    const isShort = segments.length * segmentBlocks * BLOCK_BYTES <= RECOVERY_LOG_BYTES_MAX;
    if (kernel !== undefined && isShort) memory = new ChainMemory(kernel, reader, segmentBlocks);
    return { directory, segments, reader: memory ?? reader, topEpoch: 0 };
  });
  const firsts = copies.flatMap((copy) => firstBlocks(copy, segmentBlocks, options.storeId));
  const lowest = Math.min(...copies.flatMap((copy) => copy.segments.slice(0, 1)));
  const ordinals = copies.flatMap((copy) => copy.segments);
  // The youngest first block knows best where the log starts; without any, all that is there is looked at.
  let start =
    firsts.length > 0
      ? Math.max(...firsts.map((block) => block.header.logStart))
      : (Number.isFinite(lowest) ? lowest : 1) * segmentBlocks;
  const limit = (Math.max(0, ...ordinals) + 1) * segmentBlocks;
  for (;;) {
    const found = new Walk(copies, options, { segmentBlocks, start, limit }, memory).run();
    if (!("startAgainAt" in found)) return found;
    start = found.startAgainAt;
    memory?.restart();
  }
}

class Walk {
  readonly #copies: Copy[];
  readonly #options: RecoverOptions;
  readonly #segmentBlocks: number;
  readonly #start: number;
  readonly #limit: number;
  readonly #end: ChainEnd;
  readonly #firstLsns = new Map<number, number>();
  readonly #repairs: number[][];
  /** Where blocks are not kept in the kernel's memory. */
  #lastWrite: SoundBlock[] = [];
  readonly #memory: ChainMemory | undefined;
  readonly #plain: PlainChain | undefined;

  constructor(
    copies: Copy[],
    options: RecoverOptions,
    extent: { segmentBlocks: number; start: number; limit: number },
    memory: ChainMemory | undefined,
  ) {
    this.#memory = memory;
    if (memory !== undefined) this.#plain = new PlainChain(memory, extent.segmentBlocks, options.storeId);
    this.#copies = copies;
    this.#options = options;
    this.#segmentBlocks = extent.segmentBlocks;
    this.#start = extent.start;
    this.#limit = extent.limit;
    this.#end = chainFrom(extent.start);
    this.#repairs = copies.map(() => []);
  }

  /** Follows the chain to its end, or finds that it should have begun later: the bad place had been given up. */
  run(): Recovery | { startAgainAt: number } {
    if (this.#copies.length > 1) for (const copy of this.#copies) this.#findTopEpoch(copy);
    const end = this.#end;
    while (end.nextSequence < this.#limit) {
      // As far as blocks are whole, of the usual kinds, and follow: the kernel says the same, in less time.
      this.#plain?.follow(end, this.#limit, this.#firstLsns);
      if (end.nextSequence >= this.#limit) break;
      const block = this.#choose(end.nextSequence);
      if (block === undefined) break;
      this.#take(block);
    }
    const bad = end.nextSequence;
    const later = this.#later(bad);
    if (later.proof !== undefined) {
      const logStart = this.#laterLogStart(bad);
      if (logStart > bad) return { startAgainAt: logStart };
      throw this.#corrupt(bad, later.proof);
    }
    const isEmpty = end.epoch === 0;
    return {
      segmentBlocks: this.#segmentBlocks,
      isEmpty,
      nextSequence: bad,
      nextLsn: isEmpty ? 1 : this.#nextLsn(),
      hash: end.hash ?? new Uint8Array(HASH_BYTES),
      logStart: Math.max(this.#start, end.logStart),
      topEpoch: Math.max(end.epoch, later.topEpoch, ...this.#copies.map((copy) => copy.topEpoch)),
      firstLsns: this.#firstLsns,
      durableThrough: end.durableThrough,
      torn: later.tornBlocks > 0 ? { sequence: bad, blocks: later.tornBlocks } : undefined,
      repairs: this.#repairs,
      read: this.#memory && { kernel: this.#memory.kernel, blocks: this.#memory.end() },
    };
  }

  /** The block that continues the chain, from whichever directory may say so. */
  #choose(sequence: number): SoundBlock | undefined {
    const fitting = this.#copies.map((copy) => {
      const block = soundBlock(copy.reader, sequence, this.#options.storeId);
      return block !== undefined && links(this.#end, block) ? block : undefined;
    });
    if (fitting.length === 1) return fitting[0];
    const top = this.#topEpoch();
    const leading = fitting.filter((_, index) => this.#copies[index]!.topEpoch === top);
    const chosen = leading.find((block) => block !== undefined);
    // An older copy fills a hole of the leading one. It never says where the log ends: the block that gives the
    // leading copy its higher epoch lies beyond the hole, and without one after it there is no hole.
    if (chosen === undefined) return fitting.find((block) => block !== undefined);
    const rival = leading.find((block) => block !== undefined && !sameBytes(block.used, chosen.used));
    if (rival !== undefined) throw this.#diverged(sequence);
    return chosen;
  }

  #take(block: SoundBlock): void {
    const { header, used } = block;
    if (this.#copies.length > 1) this.#noteRepairs(block);
    const ordinal = Math.floor(header.sequence / this.#segmentBlocks);
    if (!this.#firstLsns.has(ordinal)) this.#firstLsns.set(ordinal, header.firstLsn);
    advance(this.#end, block, blockHash(used));
    if (this.#memory !== undefined) {
      this.#memory.keep(header.sequence, 1);
      return;
    }
    if (header.sequence === header.writeStart) this.#lastWrite = [];
    this.#lastWrite.push(block);
  }

  #noteRepairs({ header, used }: SoundBlock): void {
    for (const [index, copy] of this.#copies.entries()) {
      const own = soundBlock(copy.reader, header.sequence, this.#options.storeId);
      if (own === undefined || !sameBytes(own.used, used)) this.#repairs[index]!.push(header.sequence);
    }
  }

  /** One more than the last whole record: the last write may have lost the end of one. */
  #nextLsn(): number {
    const assembler = new RecordAssembler();
    const lastWrite = this.#memory === undefined ? this.#lastWrite : this.#keptWrite();
    let next = lastWrite[0]!.header.firstLsn;
    for (const { header, payload } of lastWrite) {
      for (const entry of assembler.add(header, payload) ?? []) next = Number(entry.lsn) + 1;
    }
    return next;
  }

  /** The chain's blocks of the last write, from where they are kept. */
  #keptWrite(): SoundBlock[] {
    const last = this.#end.nextSequence - 1;
    const { writeStart } = this.#kept(last).header;
    const first = Math.max(writeStart, this.#start);
    return Array.from({ length: last + 1 - first }, (_, index) => this.#kept(first + index));
  }

  #kept(sequence: number): SoundBlock {
    const block = decodeBlock(this.#memory!.keptBlock(sequence), sequence, this.#options.storeId);
    invariant(block.fault === undefined, "a block that was kept is sound");
    return block;
  }

  /**
   * What lies at and beyond a bad place: a block that proves its write complete, or how much a torn write left.
   * A later segment is read only when its first block is neither blank nor recycled.
   */
  #later(bad: number): Later {
    const later: Later = { proof: undefined, topEpoch: 0, tornBlocks: 0 };
    const top = this.#topEpoch();
    for (const copy of this.#copies) {
      if (copy.topEpoch < top) continue;
      for (const ordinal of copy.segments) {
        const first = ordinal * this.#segmentBlocks;
        if (first + this.#segmentBlocks <= bad) continue;
        if (first > bad && !this.#isWorthReading(copy, first)) continue;
        const end = first + this.#segmentBlocks;
        for (let sequence = Math.max(bad, first); sequence < end; sequence++) {
          if (this.#memory !== undefined) sequence = this.#memory.pass(sequence, end);
          if (sequence === end) break;
          this.#weigh(copy, sequence, bad, later);
          if (later.proof !== undefined) return later;
        }
      }
    }
    return later;
  }

  #weigh(copy: Copy, sequence: number, bad: number, later: Later): void {
    const block = decodeBlock(copy.reader.block(sequence)!, sequence, this.#options.storeId);
    if (block.fault === "version" || block.fault === "foreign") {
      throw unreadable(copy.directory, sequence, this.#segmentBlocks, block.fault);
    }
    if (block.fault !== undefined) {
      if (block.fault === "damaged" && sequence === bad) later.tornBlocks = 1;
      return;
    }
    const { header } = block;
    later.topEpoch = Math.max(later.topEpoch, header.epoch);
    if (header.epoch < this.#end.epoch) return;
    if (sequence === bad) {
      // Written after what is before it, and yet it does not follow from it: one of the two is not what it was.
      if (!links(this.#end, block)) later.proof = header;
    } else if (header.epoch > this.#end.epoch || provesCompleted(block, bad)) later.proof = header;
    else later.tornBlocks = Math.max(later.tornBlocks, sequence - bad + 1);
  }

  /**
   * The highest log start of any block after a place. Segments are given up one by one, so that after a crash an
   * older one may still be there and a younger one gone.
   */
  #laterLogStart(place: number): number {
    let logStart = 0;
    for (const copy of this.#copies) {
      for (let sequence = place + 1; sequence < this.#limit; sequence++) {
        const block = soundBlock(copy.reader, sequence, this.#options.storeId);
        if (block === undefined || block.header.epoch < this.#end.epoch) continue;
        logStart = Math.max(logStart, block.header.logStart);
      }
    }
    return logStart;
  }

  #isWorthReading(copy: Copy, first: number): boolean {
    const { fault } = decodeBlock(copy.reader.peek(first)!, first, this.#options.storeId);
    return fault !== "empty" && fault !== "stale";
  }

  #topEpoch(): number {
    return Math.max(...this.#copies.map((copy) => copy.topEpoch));
  }

  #findTopEpoch(copy: Copy): void {
    for (const ordinal of copy.segments) {
      const first = ordinal * this.#segmentBlocks;
      for (let sequence = first; sequence < first + this.#segmentBlocks; sequence++) {
        const block = decodeBlock(copy.reader.block(sequence)!, sequence, this.#options.storeId);
        if (block.fault === "version" || block.fault === "foreign") {
          throw unreadable(copy.directory, sequence, this.#segmentBlocks, block.fault);
        }
        if (block.fault === undefined) copy.topEpoch = Math.max(copy.topEpoch, block.header.epoch);
      }
    }
  }

  #corrupt(bad: number, proof: BlockHeader): StoreError {
    const place = placeOf(bad, this.#segmentBlocks);
    const fromLsn = this.#end.nextLsn;
    const toLsn = Math.max(proof.firstLsn - 1, fromLsn ?? 0);
    const records = fromLsn === undefined ? `up to LSN ${toLsn}` : `LSN ${fromLsn} to ${toLsn} at most`;
    return new StoreError(
      "ERR_STORE_CORRUPT",
      `${place.file}: block ${place.block} is damaged (it held records ${records}), and block sequence ` +
        `${proof.sequence} proves that it had been written completely`,
      {
        context: {
          directory: this.#copies[0]!.directory,
          ...place,
          sequence: bad,
          fromLsn,
          toLsn,
          provenBySequence: proof.sequence,
        },
        hint: "Open the store with its mirror, which repairs the block, or restore a backup. Records before it are whole.",
      },
    );
  }

  #diverged(sequence: number): StoreError {
    return new StoreError(
      "ERR_STORE_CORRUPT",
      `the log and its mirror part ways at block sequence ${sequence}: each was written without the other`,
      {
        context: { directories: this.#copies.map((copy) => copy.directory), sequence },
        hint: "Decide which of the two directories is right and open the store with an empty mirror directory.",
      },
    );
  }
}

interface Later {
  proof: BlockHeader | undefined;
  topEpoch: number;
  tornBlocks: number;
}

function placeOf(sequence: number, segmentBlocks: number): { file: string; block: number } {
  const ordinal = Math.floor(sequence / segmentBlocks);
  return { file: segmentName(ordinal), block: sequence - ordinal * segmentBlocks };
}

function unreadable(
  directory: string,
  sequence: number,
  segmentBlocks: number,
  fault: "version" | "foreign",
): StoreError {
  const place = placeOf(sequence, segmentBlocks);
  const context = { directory, ...place, sequence };
  if (fault === "version") {
    return new StoreError(
      "ERR_STORE_VERSION",
      `${place.file}: block ${place.block} is of a later log format`,
      { context, hint: "Open the store with the version of varve that wrote it, or a later one." },
    );
  }
  return new StoreError("ERR_STORE_CORRUPT", `${place.file}: block ${place.block} belongs to another store`, {
    context,
    hint: "A log directory was copied or mounted in the wrong place; nothing was changed.",
  });
}

/** The sound first blocks of a directory's segments. */
function firstBlocks(copy: Copy, segmentBlocks: number, storeId: Uint8Array | undefined): SoundBlock[] {
  const found: SoundBlock[] = [];
  for (const ordinal of copy.segments) {
    const sequence = ordinal * segmentBlocks;
    const block = decodeBlock(copy.reader.peek(sequence)!, sequence, storeId);
    if (block.fault === undefined) found.push(block);
  }
  return found;
}

/** Blocks of a segment, as sound blocks say or else as the files' sizes do; `undefined` without any segment. */
function geometry({ disk, directories, storeId }: RecoverOptions): number | undefined {
  let told: number | undefined;
  let bySize: number | undefined;
  for (const directory of directories) {
    for (const ordinal of listSegments(disk, directory)) {
      const file = disk.open(`${directory}/${segmentName(ordinal)}`, { access: "read" });
      try {
        const header = firstHeader(file, ordinal);
        bySize = Math.max(bySize ?? 0, Math.floor(file.sizeBytes() / BLOCK_BYTES));
        if (header === undefined) continue;
        const { segmentBlocks, sequence } = header;
        if (storeId !== undefined && !sameBytes(header.storeId, storeId)) {
          throw unreadable(directory, sequence, segmentBlocks, "foreign");
        }
        if (told !== undefined && told !== segmentBlocks) throw unlike(directories);
        told = segmentBlocks;
        break;
      } finally {
        file.close();
      }
    }
  }
  if (told !== undefined || bySize === undefined) return told;
  return Math.max(WAL_SEGMENT_BLOCKS_MIN, Math.min(WAL_SEGMENT_BLOCKS_MAX, bySize));
}

/** The first block of a segment, taken by its own word for how large segments are. */
function firstHeader(file: DiskFile, ordinal: number): BlockHeader | undefined {
  const bytes = new Uint8Array(BLOCK_BYTES);
  file.readSync(bytes, 0);
  const claimed = new DataView(bytes.buffer).getUint32(36, true);
  const block = decodeBlock(bytes, ordinal * claimed);
  return block.fault === undefined ? block.header : undefined;
}

function unlike(directories: readonly string[]): StoreError {
  return new StoreError("ERR_STORE_CORRUPT", "the log and its mirror have segments of different sizes", {
    context: { directories },
    hint: "They were never one log: open the store with an empty mirror directory.",
  });
}
