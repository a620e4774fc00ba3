import { type DecodedBlock, decodeBlock, decodeOpenPayload, sameBytes } from "./format.ts";
import type { BlockReader } from "./segments.ts";

/** A block that checks out by itself. */
export type SoundBlock = Extract<DecodedBlock, { fault?: undefined }>;

/** How far a chain of blocks was followed. */
export interface ChainEnd {
  /** The first sequence that is not part of the chain yet. */
  nextSequence: number;
  /** Hash of the last block; `undefined` at the beginning, and where hashes are not followed. */
  hash: Uint8Array | undefined;
  /** 0 before the first block. */
  epoch: number;
  /** LSN of the next record by what the blocks say; `undefined` where the chain was entered in the middle. */
  nextLsn: number | undefined;
  durableThrough: number;
  logStart: number;
}

export function chainFrom(sequence: number): ChainEnd {
  return {
    nextSequence: sequence,
    hash: undefined,
    epoch: 0,
    nextLsn: undefined,
    durableThrough: 0,
    logStart: 0,
  };
}

export function soundBlock(
  reader: BlockReader,
  sequence: number,
  storeId: Uint8Array | undefined,
): SoundBlock | undefined {
  const bytes = reader.block(sequence);
  if (bytes === undefined) return undefined;
  const block = decodeBlock(bytes, sequence, storeId);
  return block.fault === undefined ? block : undefined;
}

/**
 * Whether a sound block continues the chain. A higher epoch can only begin with an open block; a lower one is
 * what an older opening left behind.
 */
export function links(end: ChainEnd, block: SoundBlock): boolean {
  const { header, payload } = block;
  if (end.hash !== undefined && !sameBytes(header.previousHash, end.hash)) return false;
  if (header.epoch < end.epoch || header.logStart < end.logStart) return false;
  if (header.kind === "open") {
    const open = decodeOpenPayload(payload);
    if (open === undefined || open.lastSequence !== header.sequence - 1) return false;
    if (!sameBytes(open.lastHash, header.previousHash) || open.lastLsn !== header.firstLsn - 1) return false;
    if (header.epoch === end.epoch) return false;
    // The last record before it may have been torn, and then its LSN is given again.
    return (
      end.nextLsn === undefined || header.firstLsn === end.nextLsn || header.firstLsn === end.nextLsn - 1
    );
  }
  if (end.epoch !== 0 && header.epoch !== end.epoch) return false;
  return end.nextLsn === undefined || header.firstLsn === end.nextLsn;
}

/** Moves the end past a block that links; without `hash`, only places, epochs and LSNs are followed from there. */
export function advance(end: ChainEnd, block: SoundBlock, hash: Uint8Array | undefined): void {
  const { header } = block;
  end.nextSequence = header.sequence + 1;
  end.hash = hash;
  end.epoch = header.epoch;
  end.nextLsn = header.firstLsn + header.recordCount;
  end.durableThrough = Math.max(end.durableThrough, header.durableThrough);
  end.logStart = Math.max(end.logStart, header.logStart);
}

/**
 * Whether a block proves that the write of an earlier place had been completed: it came in a later write, or was
 * written when that place was known durable.
 */
export function provesCompleted(block: SoundBlock, sequence: number): boolean {
  return block.header.writeStart > sequence || block.header.durableThrough >= sequence;
}
