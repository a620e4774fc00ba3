import { StoreError } from "../errors.ts";
import { advance, chainFrom, links, soundBlock } from "./chain.ts";
import type { JournalEntry } from "./journal.ts";
import { RecordAssembler } from "./reader.ts";
import { SegmentReader, type Segments, segmentName } from "./segments.ts";
import type { Chain } from "./writer.ts";

/** Reads durable records in order, checking every block and that each follows from the one before it. */
export function* readEntries(
  copies: readonly Segments[],
  chain: Chain,
  range: { start: number; through: number; lsn: bigint },
): Generator<JournalEntry> {
  const { segmentBlocks, storeId } = chain;
  const readers = copies.map((copy) => new SegmentReader(copy.disk, copy.directory, segmentBlocks));
  const assembler = new RecordAssembler();
  const end = chainFrom(range.start);
  while (end.nextSequence <= range.through) {
    const block = readers
      .map((reader) => soundBlock(reader, end.nextSequence, storeId))
      .find((each) => each !== undefined && links(end, each));
    const entries = block === undefined ? undefined : assembler.add(block.header, block.payload);
    if (block === undefined || entries === undefined)
      throw unreadable(end.nextSequence, segmentBlocks, end.nextLsn);
    advance(end, block);
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
