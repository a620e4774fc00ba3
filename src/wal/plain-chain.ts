import { crc32c } from "@node-rs/crc32";
import type { RecoveryKernel } from "../kernels/recovery-kernel.ts";
import type { ChainEnd } from "./chain.ts";
import type { ChainMemory } from "./chain-memory.ts";
import { BLOCK_BYTES, getUint64, STORE_ID_BYTES, setUint64 } from "./format.ts";

/** Blocks the kernel looks at in one go. */
const BATCH_BLOCKS = 64;
/** Where a block has the LSN of its first record (docs/formats/wal.md). */
const FIRST_LSN_AT = 72;
/** The kernel's state, in bytes (assembly/recovery/chain.ts). */
const NEXT_SEQUENCE = 0;
const NEXT_LSN = 8;
const DURABLE_THROUGH = 16;
const LOG_START = 24;
const EPOCH = 32;
const HASH_KNOWN = 36;
const HASH = 40;
const STORE_ID = 56;
const STATE_BYTES = 72;

/**
 * Follows the chain through blocks that need no judgement, in the kernel's memory: data and seal blocks that are whole
 * and continue it. It stops at anything else, whatever that is, and changes nothing.
 */
export class PlainChain {
  readonly #kernel: RecoveryKernel;
  readonly #blocks: ChainMemory;
  readonly #segmentBlocks: number;

  constructor(blocks: ChainMemory, segmentBlocks: number, storeId: Uint8Array | undefined) {
    const { kernel } = blocks;
    this.#kernel = kernel;
    this.#blocks = blocks;
    this.#segmentBlocks = segmentBlocks;
    kernel.exports.chainOfStore(storeId === undefined ? 0 : 1);
    const at = kernel.exports.chainState() + STORE_ID;
    if (storeId !== undefined) kernel.memory.set(storeId.subarray(0, STORE_ID_BYTES), at);
  }

  /** Moves `end` on, at most to `limit`, and has the blocks kept. */
  follow(end: ChainEnd, limit: number, firstLsns: Map<number, number>): void {
    const { exports } = this.#kernel;
    const state = this.#view(exports.chainState(), STATE_BYTES);
    setState(state, end);
    const from = end.nextSequence;
    let next = from;
    for (let more = true; more && next < limit; ) {
      const ordinal = Math.floor(next / this.#segmentBlocks);
      const left = Math.min(limit, (ordinal + 1) * this.#segmentBlocks) - next;
      const block = this.#blocks.block(next);
      if (block === undefined) break;
      const wanted = Math.min(BATCH_BLOCKS, left, this.#blocks.readyFrom(next));
      const taken = this.#followBatch(block.byteOffset, wanted);
      if (taken > 0) {
        if (!firstLsns.has(ordinal)) {
          firstLsns.set(ordinal, getUint64(this.#view(block.byteOffset, BLOCK_BYTES), FIRST_LSN_AT));
        }
        this.#blocks.keep(next, taken);
      }
      next += taken;
      more = taken === wanted;
    }
    if (next !== from) getState(this.#view(exports.chainState(), STATE_BYTES), end);
  }

  #view(at: number, sizeBytes: number): DataView {
    const { memory } = this.#kernel;
    return new DataView(memory.buffer, memory.byteOffset + at, sizeBytes);
  }

  #followBatch(at: number, count: number): number {
    const { exports } = this.#kernel;
    const likely = exports.seedBlocks(at, count);
    const lengths = this.#kernel.words(exports.blockLengths(), likely);
    const computed = this.#kernel.words(exports.blockChecksums(), likely);
    const { buffer } = this.#kernel.memory;
    for (let index = 0; index < likely; index++) {
      if (lengths[index] === 0) continue;
      // Made so, a view costs a third of what a Buffer does in code that runs for the first time.
      computed[index] = crc32c(new Uint8Array(buffer, at + index * BLOCK_BYTES, lengths[index]!));
    }
    return exports.followBlocks(at, likely);
  }
}

function setState(state: DataView, end: ChainEnd): void {
  setUint64(state, NEXT_SEQUENCE, end.nextSequence);
  setUint64(state, NEXT_LSN, end.nextLsn ?? 0);
  setUint64(state, DURABLE_THROUGH, end.durableThrough);
  setUint64(state, LOG_START, end.logStart);
  state.setUint32(EPOCH, end.epoch, true);
  state.setUint32(HASH_KNOWN, end.hash === undefined ? 0 : 1, true);
  if (end.hash !== undefined) new Uint8Array(state.buffer, state.byteOffset + HASH, 16).set(end.hash);
}

function getState(state: DataView, end: ChainEnd): void {
  end.nextSequence = getUint64(state, NEXT_SEQUENCE);
  end.nextLsn = getUint64(state, NEXT_LSN);
  end.durableThrough = getUint64(state, DURABLE_THROUGH);
  end.logStart = getUint64(state, LOG_START);
  end.epoch = state.getUint32(EPOCH, true);
  end.hash = new Uint8Array(state.buffer, state.byteOffset + HASH, 16).slice();
}
