import { invariant } from "../assert.ts";
import type { RecoveryKernel } from "../kernels/recovery-kernel.ts";
import { BLOCK_BYTES, HEADER_BYTES, KIND } from "./format.ts";
import type { BlockReader, SegmentReader } from "./segments.ts";

/** So many blocks are read at once: the log's end nearly always leaves most of a segment over. */
const PIECE_BLOCKS = 256;

/** Where a block has its kind and the length of its payload (docs/formats/wal.md). */
const KIND_AT = 10;
const LENGTH_AT = 82;

/** Blocks of the chain that were kept together. */
export interface KeptBlocks {
  sequence: number;
  count: number;
  /** Where the first of them begins in the kernel's memory. */
  at: number;
}

/**
 * The log as recovery reads it: a piece at a time into the kernel's memory, where of each block that is found to belong
 * to the chain only what it uses is kept, and the next piece is read over the rest.
 */
export class ChainMemory implements BlockReader {
  readonly kernel: RecoveryKernel;
  readonly #reader: SegmentReader;
  readonly #segmentBlocks: number;
  readonly #begin: number;
  #kept: KeptBlocks[] = [];
  #keptEnd: number;
  /** The piece that was read last: its first block, how many, where. */
  #piece = { sequence: 0, count: 0, at: 0 };
  /** From the end of what is kept up to here, memory is not zeros any more. */
  #dirtyEnd: number;

  /** Nothing else may be taken of the kernel's memory before `end`. */
  constructor(kernel: RecoveryKernel, reader: SegmentReader, segmentBlocks: number) {
    this.kernel = kernel;
    this.#reader = reader;
    this.#segmentBlocks = segmentBlocks;
    this.#begin = kernel.take(0);
    this.#keptEnd = this.#begin;
    this.#dirtyEnd = this.#begin;
  }

  /** As a view that the next call may change. */
  block(sequence: number): Uint8Array | undefined {
    if (this.readyFrom(sequence) <= 0 && !this.#read(sequence)) return undefined;
    const start = this.#piece.at + (sequence - this.#piece.sequence) * BLOCK_BYTES;
    return this.kernel.memory.subarray(start, start + BLOCK_BYTES);
  }

  peek(sequence: number): Uint8Array | undefined {
    return this.#reader.peek(sequence);
  }

  /** Blocks from one on, this one included, that the last piece has; not positive when it has not even this one. */
  readyFrom(sequence: number): number {
    const { sequence: first, count } = this.#piece;
    return sequence < first ? 0 : first + count - sequence;
  }

  /** From one block on, the first before `end` that needs to be looked at: not blank, and not plainly of another place. */
  pass(sequence: number, end: number): number {
    for (let next = sequence; next < end; ) {
      const block = this.block(next);
      if (block === undefined) return next;
      const count = Math.min(end - next, this.readyFrom(next));
      const passed = this.kernel.exports.passBlocks(block.byteOffset, count, next);
      next += passed;
      if (passed < count || next === end) return next;
    }
    return sequence;
  }

  #read(sequence: number): boolean {
    const left = this.#segmentBlocks - (sequence % this.#segmentBlocks);
    const count = Math.min(left, PIECE_BLOCKS);
    const at = this.#keptEnd;
    const end = at + count * BLOCK_BYTES;
    this.kernel.reserve(end - this.#begin);
    this.#dirtyEnd = Math.max(this.#dirtyEnd, end);
    this.#piece = { sequence: 0, count: 0, at };
    if (!this.#reader.read(sequence, this.kernel.memory.subarray(at, end))) return false;
    this.#piece = { sequence, count, at };
    return true;
  }

  /** Blocks of the last piece belong to the chain, the next ones of it. */
  keep(sequence: number, count: number): void {
    const { sequence: first, at } = this.#piece;
    const from = at + (sequence - first) * BLOCK_BYTES;
    invariant(this.readyFrom(sequence) >= count && from >= this.#keptEnd, "blocks are kept in their order");
    this.#kept.push({ sequence, count, at: this.#keptEnd });
    this.#keptEnd = this.kernel.exports.keepBlocks(from, count, this.#keptEnd) >>> 0;
  }

  /** A block that was kept, whole again. */
  keptBlock(sequence: number): Uint8Array {
    const run = this.#kept.findLast((each) => each.sequence <= sequence);
    invariant(run !== undefined && sequence < run.sequence + run.count, "the block was kept");
    const { exports, memory } = this.kernel;
    let at = run.at;
    for (let before = run.sequence; before < sequence; before++) at += exports.keptBytes(at);
    const used = HEADER_BYTES + memory.readUInt16LE(at + LENGTH_AT);
    const bytes = new Uint8Array(BLOCK_BYTES).fill(memory[at + KIND_AT] === KIND.open ? 0xff : 0);
    bytes.set(memory.subarray(at, at + used));
    return bytes;
  }

  /** The chain is followed anew, from another place on. */
  restart(): void {
    this.#kept = [];
    this.#keptEnd = this.#begin;
    this.#piece = { sequence: 0, count: 0, at: this.#begin };
  }

  /** Nothing more is read; returns what was kept. The memory behind it is the next one's to take. */
  end(): KeptBlocks[] {
    this.kernel.memory.fill(0, this.#keptEnd, this.#dirtyEnd);
    this.kernel.take(this.#keptEnd - this.#begin);
    return this.#kept;
  }
}
