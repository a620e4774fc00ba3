import { crc32c } from "@node-rs/crc32";
import { StoreError } from "../errors.ts";
import {
  LOG_FORMAT_VERSION,
  LOG_HEADER_BYTES,
  LOG_HEADER_USED_BYTES,
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

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** What is wrong with the log's header, or `undefined`. @throws `ERR_STORE_VERSION` for a newer format. */
export function checkLogHeader(bytes: Uint8Array, storeId: Uint8Array): string | undefined {
  const header = bufferOf(bytes);
  if (header.byteLength < LOG_HEADER_USED_BYTES) return "it is shorter than its header";
  if (!header.subarray(0, 8).equals(LOG_MAGIC)) return "its magic is wrong";
  if (crc32c(header.subarray(0, 28)) !== header.readUInt32LE(28)) return "its header's checksum is wrong";
  const version = header.readUInt16LE(8);
  if (version > LOG_FORMAT_VERSION) {
    throw new StoreError(
      "ERR_STORE_VERSION",
      `the version log has format ${version}, newer than this varve`,
      {
        hint: "Open the store with the varve that wrote it, or a newer one.",
      },
    );
  }
  return header.subarray(12, 28).equals(storeId) ? undefined : "it belongs to another store";
}

export interface PlacedRecord extends LogRecord {
  offset: number;
  sizeBytes: number;
}

/** The record at `at` of `bytes`, which begin at `baseOffset` of the log; `undefined` when there is no good one. */
export function recordAt(
  bytes: Uint8Array,
  at: number,
  storeId: Uint8Array,
  baseOffset: number,
): PlacedRecord | undefined {
  const view = bufferOf(bytes);
  if (at + RECORD_HEADER_BYTES > view.byteLength || view.readUInt32LE(at) !== RECORD_MAGIC) return undefined;
  const payloadBytes = view.readUInt32LE(at + 8);
  const end = at + RECORD_HEADER_BYTES + payloadBytes;
  if (at + recordBytes(payloadBytes) > view.byteLength) return undefined;
  const offset = baseOffset + at;
  if (crc32c(view.subarray(at + 8, end), recordSeed(storeId, offset)) !== view.readUInt32LE(at + 4))
    return undefined;
  return {
    seq: view.readBigUInt64LE(at + 12),
    timeUs: view.readBigUInt64LE(at + 20),
    payload: view.subarray(at + RECORD_HEADER_BYTES, end),
    offset,
    sizeBytes: recordBytes(payloadBytes),
  };
}

export interface LogScan {
  records: PlacedRecord[];
  /** Where the good records end, from the start of the log. */
  goodBytes: number;
  /** Ranges between good records that are none. */
  damage: { offset: number; sizeBytes: number }[];
  /** Bytes after the last good record: a torn append, or rot where the mark says that more was durable. */
  tailBytes: number;
}

/** Reads all records of `bytes`, which begin at `baseOffset` of the log, going on after damage. */
export function scanLog(bytes: Uint8Array, storeId: Uint8Array, baseOffset: number): LogScan {
  const scan: LogScan = { records: [], goodBytes: baseOffset, damage: [], tailBytes: 0 };
  const magic = Buffer.alloc(4);
  magic.writeUInt32LE(RECORD_MAGIC, 0);
  const view = bufferOf(bytes);
  let at = 0;
  while (at < view.byteLength) {
    const record = recordAt(view, at, storeId, baseOffset);
    if (record !== undefined) {
      scan.records.push(record);
      at += record.sizeBytes;
      scan.goodBytes = baseOffset + at;
      continue;
    }
    let next = view.indexOf(magic, at + 1);
    while (next >= 0 && recordAt(view, next, storeId, baseOffset) === undefined)
      next = view.indexOf(magic, next + 1);
    if (next < 0) {
      scan.tailBytes = view.byteLength - at;
      break;
    }
    scan.damage.push({ offset: baseOffset + at, sizeBytes: next - at });
    at = next;
  }
  return scan;
}

/** Stretches behind a good header, and behind the payloads of good records, that are not the zeros their writer left. */
export function strayPadding(
  log: Uint8Array,
  records: readonly PlacedRecord[],
): { offset: number; sizeBytes: number }[] {
  const paddings = [
    { offset: LOG_HEADER_USED_BYTES, end: LOG_HEADER_BYTES },
    ...records.map(({ offset, sizeBytes, payload }) => {
      return { offset: offset + RECORD_HEADER_BYTES + payload.byteLength, end: offset + sizeBytes };
    }),
  ];
  return paddings.flatMap(({ offset, end }) =>
    log.subarray(offset, end).some((byte) => byte !== 0) ? [{ offset, sizeBytes: end - offset }] : [],
  );
}

/** The mark, or `undefined` when its bytes are no good mark of this store. */
export function decodeMark(bytes: Uint8Array, storeId: Uint8Array): Mark | undefined {
  const view = bufferOf(bytes);
  if (view.byteLength !== MARK_BYTES || view.readUInt32LE(0) !== MARK_MAGIC) return undefined;
  if (crc32c(view.subarray(8), crc32c(storeId)) !== view.readUInt32LE(4)) return undefined;
  return { logBytes: Number(view.readBigUInt64LE(8)), seq: view.readBigUInt64LE(16) };
}
