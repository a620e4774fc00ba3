import { invariant } from "../assert.ts";
import {
  BLOCK_BYTES,
  type BlockHeader,
  type BlockKind,
  type BlockMemory,
  blockMemory,
  encodeOpenPayload,
  HEADER_BYTES,
  OPEN_PAYLOAD_BYTES,
  type OpenBlock,
  PAYLOAD_BYTES,
  RECORD_HEADER_BYTES,
  sealBlock,
  setUint64,
} from "./format.ts";
import type { JournalWrite } from "./journal.ts";

/** Where the chain ends and what the next block must say; the one owner of a log's position. */
export interface Chain {
  storeId: Uint8Array;
  segmentBlocks: number;
  epoch: number;
  nextSequence: number;
  durableThrough: number;
  logStart: number;
  /** LSN of the next record that gets a block. */
  nextLsn: number;
  /** Overwritten in place with every block. */
  previousHash: Uint8Array;
}

/** Blocks that so many bytes of records fill. */
export function blocksFor(streamBytes: number): number {
  return Math.max(1, Math.ceil(streamBytes / PAYLOAD_BYTES));
}

/**
 * Builds the blocks of one write in page-aligned memory. Records are laid one after another across the payloads;
 * `seal` then turns them into blocks of the chain. The memory is the caller's to write out until `reset`.
 */
export class Group {
  readonly memory: Uint8Array;
  /** Records laid so far. */
  records = 0;
  readonly #blocks: BlockMemory[] = [];
  readonly #capacityBytes: number;
  /** For each block, the records that begin there and the bytes of one begun earlier. */
  readonly #starts: Uint16Array;
  readonly #continued: Uint16Array;
  /** Blocks of the last write, and the view of them: writes of one size follow each other. */
  #sealed: Uint8Array;
  readonly #recordHeader = new Uint8Array(RECORD_HEADER_BYTES);
  readonly #recordView = new DataView(this.#recordHeader.buffer);
  readonly #header: BlockHeader;
  /** Bytes of records laid so far, headers of blocks not counted. */
  #streamBytes = 0;

  constructor(memory: Uint8Array, storeId: Uint8Array) {
    this.memory = memory;
    const blocks = Math.floor(memory.byteLength / BLOCK_BYTES);
    this.#capacityBytes = blocks * PAYLOAD_BYTES;
    this.#starts = new Uint16Array(blocks);
    this.#continued = new Uint16Array(blocks);
    this.#sealed = memory.subarray(0, BLOCK_BYTES);
    this.#header = {
      kind: "data",
      flags: 0,
      storeId,
      epoch: 0,
      segmentBlocks: 0,
      sequence: 0,
      writeStart: 0,
      durableThrough: 0,
      logStart: 0,
      firstLsn: 0,
      recordCount: 0,
      length: 0,
      continued: 0,
      previousHash: storeId,
    };
  }

  get blockCount(): number {
    return blocksFor(this.#streamBytes);
  }

  /** Lays a copy of a record behind the others; `false` when it does not fit any more. */
  append({ buffer, offset, end, timeUs }: JournalWrite): boolean {
    const size = end - offset;
    if (this.#streamBytes + RECORD_HEADER_BYTES + size > this.#capacityBytes) return false;
    const block = Math.floor(this.#streamBytes / PAYLOAD_BYTES);
    const at = this.#streamBytes - block * PAYLOAD_BYTES;
    this.#starts[block]!++;
    if (at + RECORD_HEADER_BYTES + size <= PAYLOAD_BYTES) {
      const memory = this.#block(block);
      const { bytes, view } = memory;
      const start = HEADER_BYTES + at;
      view.setUint32(start, size, true);
      setUint64(view, start + 4, timeUs);
      copyBytes(buffer, offset, end, bytes, start + RECORD_HEADER_BYTES);
      this.#streamBytes += RECORD_HEADER_BYTES + size;
      if (memory.zeroFrom < start + RECORD_HEADER_BYTES + size) {
        memory.zeroFrom = start + RECORD_HEADER_BYTES + size;
      }
    } else {
      this.#recordView.setUint32(0, size, true);
      setUint64(this.#recordView, 4, timeUs);
      this.#lay(this.#recordHeader, 0, RECORD_HEADER_BYTES);
      this.#lay(buffer, offset, end);
      this.#markContinued(block);
    }
    this.records++;
    return true;
  }

  /**
   * Makes the laid records the next blocks of the chain and moves the chain past them. Returns the bytes to write
   * at the sequence the chain stood at.
   */
  seal(chain: Chain, kind: BlockKind = "data", flags = 0): Uint8Array {
    const count = this.blockCount;
    const header = this.#header;
    header.kind = kind;
    header.flags = flags;
    header.epoch = chain.epoch;
    header.segmentBlocks = chain.segmentBlocks;
    header.writeStart = chain.nextSequence;
    header.durableThrough = chain.durableThrough;
    header.logStart = chain.logStart;
    header.firstLsn = chain.nextLsn;
    for (let index = 0; index < count; index++) {
      const recordCount = this.#starts[index]!;
      const block = this.#block(index);
      header.sequence = chain.nextSequence;
      header.previousHash = chain.previousHash;
      header.recordCount = recordCount;
      header.length = Math.min(PAYLOAD_BYTES, this.#streamBytes - index * PAYLOAD_BYTES);
      header.continued = this.#continued[index]!;
      sealBlock(block, header, chain.previousHash);
      chain.nextSequence++;
      header.firstLsn += recordCount;
    }
    chain.nextLsn = header.firstLsn;
    if (this.#sealed.byteLength !== count * BLOCK_BYTES) {
      this.#sealed = this.memory.subarray(0, count * BLOCK_BYTES);
    }
    return this.#sealed;
  }

  /** Seals one open block, which announces a new epoch. */
  sealOpen(chain: Chain, open: OpenBlock, flags: number): Uint8Array {
    invariant(this.#streamBytes === 0, "an open block is a write of its own");
    encodeOpenPayload(open, this.#block(0).bytes.subarray(HEADER_BYTES));
    this.#streamBytes = OPEN_PAYLOAD_BYTES;
    return this.seal(chain, "open", flags);
  }

  reset(): void {
    const used = this.blockCount;
    this.#starts.fill(0, 0, used);
    this.#continued.fill(0, 0, used);
    this.records = 0;
    this.#streamBytes = 0;
  }

  #block(index: number): BlockMemory {
    let block = this.#blocks[index];
    if (block === undefined) {
      block = blockMemory(this.memory, index);
      this.#blocks[index] = block;
    }
    return block;
  }

  /** Lays bytes that may cross blocks. */
  #lay(source: Uint8Array, from: number, end: number): void {
    let done = from;
    while (done < end) {
      const index = Math.floor(this.#streamBytes / PAYLOAD_BYTES);
      const at = this.#streamBytes - index * PAYLOAD_BYTES;
      const count = Math.min(PAYLOAD_BYTES - at, end - done);
      const memory = this.#block(index);
      copyBytes(source, done, done + count, memory.bytes, HEADER_BYTES + at);
      memory.zeroFrom = Math.max(memory.zeroFrom, HEADER_BYTES + at + count);
      this.#streamBytes += count;
      done += count;
    }
  }

  #markContinued(from: number): void {
    for (let index = from + 1; index < this.blockCount; index++) {
      this.#continued[index] = Math.min(PAYLOAD_BYTES, this.#streamBytes - index * PAYLOAD_BYTES);
    }
  }
}

function copyBytes(source: Uint8Array, from: number, to: number, target: Uint8Array, at: number): void {
  const isWhole = from === 0 && to === source.byteLength;
  target.set(isWhole ? source : new Uint8Array(source.buffer, source.byteOffset + from, to - from), at);
}
