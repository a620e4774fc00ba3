import { crc32c } from "@node-rs/crc32";
import {
  LOG_FORMAT_VERSION,
  LOG_HEADER_BYTES,
  LOG_MAGIC,
  type LogRecord,
  MARK_BYTES,
  MARK_MAGIC,
  type Mark,
  RECORD_HEADER_BYTES,
  RECORD_MAGIC,
  recordBytes,
  recordSeed,
} from "./log-format.ts";

export function encodeLogHeader(storeId: Uint8Array): Uint8Array {
  const header = Buffer.alloc(LOG_HEADER_BYTES);
  header.set(LOG_MAGIC, 0);
  header.writeUInt16LE(LOG_FORMAT_VERSION, 8);
  header.set(storeId, 12);
  header.writeUInt32LE(crc32c(header.subarray(0, 28)), 28);
  return header;
}

/** The bytes of a record that will lie at `offset` of the log. */
export function encodeRecord(record: LogRecord, storeId: Uint8Array, offset: number): Uint8Array {
  const bytes = Buffer.alloc(recordBytes(record.payload.byteLength));
  bytes.writeUInt32LE(RECORD_MAGIC, 0);
  bytes.writeUInt32LE(record.payload.byteLength, 8);
  bytes.writeBigUInt64LE(record.seq, 12);
  bytes.writeBigUInt64LE(record.timeUs, 20);
  bytes.set(record.payload, RECORD_HEADER_BYTES);
  const checked = bytes.subarray(8, RECORD_HEADER_BYTES + record.payload.byteLength);
  bytes.writeUInt32LE(crc32c(checked, recordSeed(storeId, offset)), 4);
  return bytes;
}

export function encodeMark(mark: Mark, storeId: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(MARK_BYTES);
  bytes.writeUInt32LE(MARK_MAGIC, 0);
  bytes.writeBigUInt64LE(BigInt(mark.logBytes), 8);
  bytes.writeBigUInt64LE(mark.seq, 16);
  bytes.writeUInt32LE(crc32c(bytes.subarray(8), crc32c(storeId)), 4);
  return bytes;
}
