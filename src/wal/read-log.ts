import type { Disk } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import { advance, chainFrom, links, type SoundBlock, soundBlock } from "./chain.ts";
import type { JournalEntry, RecordVisitor } from "./journal.ts";
import { RecordAssembler } from "./reader.ts";
import { SegmentReader, segmentName } from "./segments.ts";

/** Where blocks lie and how. */
export interface LogPlace {
  segmentBlocks: number;
  /** Refuses blocks of another store. */
  storeId?: Uint8Array;
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
): Generator<JournalEntry> {
  const assembler = new RecordAssembler();
  for (const block of readBlocks(copies, place, range)) {
    const entries = assembler.add(block.header, block.payload);
    if (entries === undefined) throw unreadable(block.header.sequence, place.segmentBlocks, undefined);
    for (const entry of entries) if (entry.lsn >= range.lsn) yield entry;
  }
}

/** The same, each record told to `visit`. */
export function scanEntries(
  copies: readonly { disk: Disk; directory: string }[],
  place: LogPlace,
  range: { start: number; through: number; lsn: bigint },
  visit: RecordVisitor,
): void {
  const assembler = new RecordAssembler();
  const from = Number(range.lsn);
  const wanted: RecordVisitor = (bytes, offset, end, lsn, timeUs) => {
    if (lsn >= from) visit(bytes, offset, end, lsn, timeUs);
  };
  for (const block of readBlocks(copies, place, range)) {
    if (assembler.visit(block.header, block.payload, wanted)) continue;
    throw unreadable(block.header.sequence, place.segmentBlocks, block.header.firstLsn);
  }
}

function* readBlocks(
  copies: readonly { disk: Disk; directory: string }[],
  { segmentBlocks, storeId }: LogPlace,
  range: { start: number; through: number },
): Generator<SoundBlock> {
  const readers = copies.map((copy) => new SegmentReader(copy.disk, copy.directory, segmentBlocks));
  const end = chainFrom(range.start);
  while (end.nextSequence <= range.through) {
    const block = readers
      .map((reader) => soundBlock(reader, end.nextSequence, storeId))
      .find((each) => each !== undefined && links(end, each));
    if (block === undefined) throw unreadable(end.nextSequence, segmentBlocks, end.nextLsn);
    advance(end, block, undefined);
    yield block;
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
