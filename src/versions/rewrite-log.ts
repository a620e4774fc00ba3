import type { Disk } from "../disk/disk.ts";
import { flipUntil } from "../flipped-bit.ts";
import { LOG_HEADER_BYTES, RECORD_HEADER_BYTES } from "./log-format.ts";
import { type PlacedRecord, recordAt } from "./log-reader.ts";
import { encodeLogHeader, encodeMark, encodeRecord } from "./log-writer.ts";
import type { LogInspection } from "./version-store.ts";

export interface RewriteOptions {
  /** The store's `versions` directory. */
  directory: string;
  storeId: Uint8Array;
  inspection: LogInspection;
}

/** A stretch longer than this holds more than a record or two, and more damage than one bit. */
const HEALED_BYTES_MAX = 16_384;

/**
 * Writes the log again with every good record, and every record that turning back one bit makes good. Records get
 * new places and sequence numbers; their times stay. The new log takes the old one's name when it is whole.
 */
export function rewriteLog(
  disk: Disk,
  { directory, storeId, inspection }: RewriteOptions,
): { healed: number } {
  const healed = inspection.damage.flatMap(
    (range) => healRecord(disk, inspection.logPath, range, storeId) ?? [],
  );
  const records = [...inspection.records, ...healed].sort((a, b) => a.offset - b.offset);
  const parts: Uint8Array[] = [encodeLogHeader(storeId)];
  let offset = LOG_HEADER_BYTES;
  let seq = 0n;
  for (const { timeUs, payload } of records) {
    seq += 1n;
    const bytes = encodeRecord({ seq, timeUs, payload }, storeId, offset);
    parts.push(bytes);
    offset += bytes.byteLength;
  }
  const temporary = `${directory}/log.new`;
  disk.remove(temporary);
  const log = disk.open(temporary, { access: "write", create: "must" });
  log.writeSync(Buffer.concat(parts), 0);
  log.syncSync();
  log.close();
  // The old mark speaks of the old log: gone before the new log is there, written again after it.
  disk.remove(`${directory}/mark`);
  disk.syncDirectory(directory);
  disk.rename(temporary, `${directory}/log`);
  disk.syncDirectory(directory);
  const mark = disk.open(`${directory}/mark`, { access: "write", create: "must" });
  mark.writeSync(encodeMark({ logBytes: offset, seq }, storeId), 0);
  mark.syncSync();
  mark.close();
  return { healed: healed.length };
}

function healRecord(
  disk: Disk,
  path: string,
  range: { offset: number; sizeBytes: number },
  storeId: Uint8Array,
): PlacedRecord | undefined {
  if (range.sizeBytes > HEALED_BYTES_MAX || range.sizeBytes < RECORD_HEADER_BYTES) return undefined;
  const bytes = Buffer.alloc(range.sizeBytes);
  const log = disk.open(path, { access: "read" });
  log.readSync(bytes, range.offset);
  log.close();
  const good = () => recordAt(bytes, 0, storeId, range.offset)?.sizeBytes === range.sizeBytes;
  return flipUntil(bytes, bytes.byteLength, good) ? recordAt(bytes, 0, storeId, range.offset) : undefined;
}
