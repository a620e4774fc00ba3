import type { Disk } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import { advance, chainFrom, links, type SoundBlock, soundBlock } from "./chain.ts";
import type { JournalEntry } from "./journal.ts";
import { RecordAssembler } from "./reader.ts";
import { SegmentReader, segmentName } from "./segments.ts";

/** Where blocks lie and how. */
export interface LogPlace {
  segmentBlocks: number;
  /** Refuses blocks of another store. */
  storeId?: Uint8Array;
}

/** Blocks in memory that need not be read again; what lies beyond may have been written since. */
export interface RecoveredBlocks {
  reader: SegmentReader;
  /** The first sequence that is not among them. */
  below: number;
}

/**
 * Reads records in order, checking every block and that its epoch and LSN follow from the one before it (recovery
 * has followed the hashes). A block that one copy has lost comes from the other.
 *
 * @param range from the block `start` through the block `through`, of these the records from `lsn` on.
 */
export function* readEntries(
  copies: readonly { disk: Disk; directory: string }[],
  place: LogPlace,
  range: { start: number; through: number; lsn: bigint },
  recovered?: RecoveredBlocks,
): Generator<JournalEntry> {
  const { segmentBlocks, storeId } = place;
  const readers = copies.map((copy) => new SegmentReader(copy.disk, copy.directory, segmentBlocks));
  const assembler = new RecordAssembler();
  const end = chainFrom(range.start);
  while (end.nextSequence <= range.through) {
    let block: SoundBlock | undefined;
    if (recovered !== undefined && end.nextSequence < recovered.below) {
      block = soundBlock(recovered.reader, end.nextSequence, storeId);
      if (block !== undefined && !links(end, block)) block = undefined;
    }
    block ??= readers
      .map((reader) => soundBlock(reader, end.nextSequence, storeId))
      .find((each) => each !== undefined && links(end, each));
    const entries = block === undefined ? undefined : assembler.add(block.header, block.payload);
    if (block === undefined || entries === undefined)
      throw unreadable(end.nextSequence, segmentBlocks, end.nextLsn);
    advance(end, block, undefined);
    for (const entry of entries) if (entry.lsn >= range.lsn) yield entry;
  }
}

function unreadable(sequence: number, segmentBlocks: number, nextLsn: number | undefined): StoreError {
  const ordinal = Math.floor(sequence / segmentBlocks);
  const block = sequence - ordinal * segmentBlocks;
  return new StoreError("ERR_STORE_CORRUPT", `${segmentName(ordinal)}: block ${block} cannot be read back`, {
    context: { file: segmentName(ordinal), block, sequence, fromLsn: nextLsn },
    hint: "Open the store again: with a mirror the block is repaired, otherwise the damage is reported in full.",
  });
}
