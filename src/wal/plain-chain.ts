import { crc32c } from "@node-rs/crc32";
import type { RecoveryKernel } from "../kernels/recovery-kernel.ts";
import type { ChainEnd } from "./chain.ts";
import { BLOCK_BYTES, STORE_ID_BYTES } from "./format.ts";
import type { RecoveredLog } from "./record-places.ts";
import type { SegmentReader } from "./segments.ts";

/** Blocks the kernel looks at in one go. */
const BATCH_BLOCKS = 64;
/** Words of the kernel's state (assembly/recovery/chain.ts). */
const NEXT_SEQUENCE = 0;
const NEXT_LSN = 2;
const DURABLE_THROUGH = 4;
const LOG_START = 6;
const EPOCH = 8;
const HASH_KNOWN = 9;
const HASH = 10;
const STORE_ID = 14;
const STATE_WORDS = 18;

/**
 * Follows the chain through blocks that need no judgement, in the kernel's memory: data and seal blocks that are whole
 * and continue it. It stops at anything else, whatever that is, and changes nothing.
 */
export class PlainChain {
  readonly #kernel: RecoveryKernel;
  readonly #reader: SegmentReader;
  readonly #segmentBlocks: number;

  constructor(
    kernel: RecoveryKernel,
    reader: SegmentReader,
    segmentBlocks: number,
    storeId: Uint8Array | undefined,
  ) {
    this.#kernel = kernel;
    this.#reader = reader;
    this.#segmentBlocks = segmentBlocks;
    kernel.exports.chainOfStore(storeId === undefined ? 0 : 1);
    const at = kernel.exports.chainState() + STORE_ID * 4;
    if (storeId !== undefined) kernel.memory.set(storeId.subarray(0, STORE_ID_BYTES), at);
  }

  /** Moves `end` on, at most to `limit`; returns whether it moved. */
  follow(end: ChainEnd, limit: number, firstLsns: Map<number, number>): boolean {
    const { exports } = this.#kernel;
    const state = this.#kernel.words(exports.chainState(), STATE_WORDS);
    setState(state, end);
    const from = end.nextSequence;
    let next = from;
    for (let more = true; more && next < limit; ) {
      const ordinal = Math.floor(next / this.#segmentBlocks);
      const left = Math.min(limit, (ordinal + 1) * this.#segmentBlocks) - next;
      const block = this.#reader.block(next);
      if (block === undefined) break;
      const wanted = Math.min(BATCH_BLOCKS, left, this.#reader.readyFrom(next));
      const taken = this.#followBatch(block.byteOffset, wanted);
      if (taken > 0 && !firstLsns.has(ordinal)) {
        firstLsns.set(ordinal, numberAt(this.#kernel.words(block.byteOffset + 72, 2), 0));
      }
      next += taken;
      more = taken === wanted;
    }
    if (next === from) return false;
    getState(state, end);
    return true;
  }

  #followBatch(at: number, count: number): number {
    const { exports } = this.#kernel;
    const likely = exports.seedBlocks(at, count);
    const lengths = this.#kernel.words(exports.blockLengths(), likely);
    const computed = this.#kernel.words(exports.blockChecksums(), likely);
    const { memory } = this.#kernel;
    for (let index = 0; index < likely; index++) {
      const start = at + index * BLOCK_BYTES;
      computed[index] = crc32c(memory.subarray(start, start + lengths[index]!));
    }
    return exports.followBlocks(at, likely);
  }

  /** What was followed, for reading its records. */
  read(start: number, end: number): RecoveredLog {
    const [kernel, reader] = [this.#kernel, this.#reader];
    return { kernel, reader, segmentBlocks: this.#segmentBlocks, start, end };
  }
}

function setState(state: Uint32Array, end: ChainEnd): void {
  setNumber(state, NEXT_SEQUENCE, end.nextSequence);
  setNumber(state, NEXT_LSN, end.nextLsn ?? 0);
  setNumber(state, DURABLE_THROUGH, end.durableThrough);
  setNumber(state, LOG_START, end.logStart);
  state[EPOCH] = end.epoch;
  state[HASH_KNOWN] = end.hash === undefined ? 0 : 1;
  if (end.hash !== undefined) new Uint8Array(state.buffer, state.byteOffset + HASH * 4, 16).set(end.hash);
}

function getState(state: Uint32Array, end: ChainEnd): void {
  end.nextSequence = numberAt(state, NEXT_SEQUENCE);
  end.nextLsn = numberAt(state, NEXT_LSN);
  end.durableThrough = numberAt(state, DURABLE_THROUGH);
  end.logStart = numberAt(state, LOG_START);
  end.epoch = state[EPOCH]!;
  end.hash = new Uint8Array(state.buffer, state.byteOffset + HASH * 4, 16).slice();
}

function setNumber(words: Uint32Array, index: number, value: number): void {
  words[index] = value >>> 0;
  words[index + 1] = Math.floor(value / 2 ** 32);
}

function numberAt(words: Uint32Array, index: number): number {
  return words[index + 1]! * 2 ** 32 + words[index]!;
}
