import { randomBytes } from "node:crypto";
import { allocatePages } from "../disk/aligned.ts";
import { BLOCK_BYTES } from "./format.ts";
import type { Segments } from "./segments.ts";
import { type Chain, Group } from "./writer.ts";

/** Writes an open block at the chain's end to every copy, durably; throws when one fails. */
export function writeOpenBlock(copies: readonly Segments[], chain: Chain, flags: number): void {
  const group = new Group(allocatePages(BLOCK_BYTES), chain.storeId);
  const { nextSequence, nextLsn } = chain;
  const bytes = group.sealOpen(
    chain,
    {
      openId: randomBytes(16),
      openedUs: BigInt(Date.now()) * 1000n,
      lastSequence: nextSequence - 1,
      lastLsn: nextLsn - 1,
      lastHash: chain.previousHash,
    },
    flags,
  );
  for (const copy of copies) {
    copy.ensureSync(Math.floor(nextSequence / chain.segmentBlocks));
    copy.write(nextSequence, bytes);
  }
}
