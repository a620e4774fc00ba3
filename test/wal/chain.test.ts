import { describe, expect, it } from "vitest";
import { blockHash } from "../../src/wal/block-hash.ts";
import { advance, chainFrom, links, provesCompleted, type SoundBlock } from "../../src/wal/chain.ts";
import { BLOCK_BYTES, decodeBlock, type OpenBlock } from "../../src/wal/format.ts";
import { writeOf } from "../../src/wal/journal.ts";
import { type Chain, Group } from "../../src/wal/writer.ts";

const STORE_ID = new Uint8Array(16).fill(7);

function chain(change: Partial<Chain> = {}): Chain {
  const start = { epoch: 4, nextSequence: 1030, durableThrough: 1029, logStart: 1024, nextLsn: 9 };
  return {
    storeId: STORE_ID,
    segmentBlocks: 1024,
    previousHash: new Uint8Array(16).fill(1),
    ...start,
    ...change,
  };
}

function sound(bytes: Uint8Array, sequence: number): SoundBlock {
  const block = decodeBlock(bytes, sequence);
  if (block.fault !== undefined) throw new Error(block.fault);
  return block;
}

/** The next block of a chain, with one record or as an open block. */
function next(position: Chain, open?: Partial<OpenBlock>): SoundBlock {
  const at = { ...position, previousHash: position.previousHash.slice() };
  const group = new Group(new Uint8Array(BLOCK_BYTES), STORE_ID);
  const sequence = at.nextSequence;
  if (open === undefined) {
    group.append(writeOf({ payload: new Uint8Array(3), timeUs: 1n }));
    return sound(group.seal(at), sequence);
  }
  const defaults = {
    openId: new Uint8Array(16),
    openedUs: 1n,
    lastLsn: at.nextLsn - 1,
    lastHash: at.previousHash,
  };
  return sound(group.sealOpen(at, { lastSequence: sequence - 1, ...defaults, ...open }, 0), sequence);
}

/** The end of a chain whose last block is at 1030, and the position a writer would go on from. */
function written(): { end: ReturnType<typeof chainFrom>; at: Chain } {
  const at = chain();
  const end = chainFrom(1030);
  const first = next(at);
  const hash = blockHash(first.used);
  advance(end, first, hash);
  return { end, at: { ...at, nextSequence: 1031, nextLsn: 10, previousHash: hash } };
}

describe("a block continues the chain", () => {
  it("when its hash, epoch and LSN follow", () => {
    const { end, at } = written();
    expect(links(end, next(at))).toBe(true);
  });

  it("not when the block before it is not the one its writer saw", () => {
    const { end, at } = written();
    expect(links(end, next({ ...at, previousHash: new Uint8Array(16).fill(9) }))).toBe(false);
  });

  it("not when it is of an older epoch, even if all else follows", () => {
    const { end, at } = written();
    expect(links(end, next({ ...at, epoch: 3 }))).toBe(false);
    expect(links(end, next({ ...at, epoch: 3 }, {}))).toBe(false);
  });

  it("not when it is of a newer epoch that was never opened", () => {
    const { end, at } = written();
    expect(links(end, next({ ...at, epoch: 5 }))).toBe(false);
    expect(links(end, next({ ...at, epoch: 5 }, {}))).toBe(true);
    expect(links(end, next({ ...at }, {}))).toBe(false);
  });

  it("not when an LSN is missing or given twice, save one torn record before an open block", () => {
    const { end, at } = written();
    expect(links(end, next({ ...at, nextLsn: 11 }))).toBe(false);
    expect(links(end, next({ ...at, nextLsn: 9 }))).toBe(false);
    expect(links(end, next({ ...at, nextLsn: 9, epoch: 5 }, {}))).toBe(true);
    expect(links(end, next({ ...at, nextLsn: 8, epoch: 5 }, {}))).toBe(false);
    expect(links(end, next({ ...at, nextLsn: 11, epoch: 5 }, {}))).toBe(false);
  });

  it("not when it knows less of what was given up", () => {
    const { end, at } = written();
    expect(links(end, next({ ...at, logStart: 1000 }))).toBe(false);
  });

  it("not when an open block contradicts itself", () => {
    const { end, at } = written();
    const epoch = 5;
    expect(links(end, next({ ...at, epoch }, { lastSequence: 1 }))).toBe(false);
    expect(links(end, next({ ...at, epoch }, { lastLsn: 1 }))).toBe(false);
    expect(links(end, next({ ...at, epoch }, { lastHash: new Uint8Array(16) }))).toBe(false);
  });
});

describe("a block proves an earlier write complete", () => {
  it("when it came in a later write, or knew it durable", () => {
    const block = next(chain());
    expect(provesCompleted(block, 1029)).toBe(true);
    expect(provesCompleted(block, 1030)).toBe(false);
  });
});
