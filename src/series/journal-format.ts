import { StoreError } from "../errors.ts";
import { checksumOf, checksumWithin } from "./checksum.ts";
import { type Schema, schemaFromJson, schemaToJson } from "./schema.ts";

/**
 * A hot file: a header, then records of rows in the order in which they came (docs/formats/series.md).
 *
 *     header   0  magic "VARVEHOT"                     record   0  u32 CRC-32C of all that follows
 *              8  u32 format version                            4  u32 payload bytes
 *             12  u32 bytes of the description                  8  u32 rows
 *             16  store id, 16 bytes                           12  u32 ordinal: rows of the file before these
 *             32  u64 first row                                16  u32 synced: rows known durable when this was written
 *             40  u32 CRC-32C of bytes 0-39 and 44-end         20  u32 kind
 *             44  description, JSON in UTF-8                   24  payload
 *
 * All numbers are little-endian. Past the last record the file holds zeros or ends.
 */
const JOURNAL_MAGIC = 0x544f_4845_5652_4156n; // "VARVEHOT"
const JOURNAL_VERSION = 1;
export const JOURNAL_HEADER_BYTES = 44;
export const JOURNAL_RECORD_BYTES = 24;

/** Bytes of a description: the widest schema, with room. */
export const DESCRIPTION_BYTES_MAX = 1 << 20;

/** What a record is. A mark holds no rows: it says how many are durable. A drain empties the sorting window. */
export const RECORD_KINDS = { rows: 0, mark: 1, drain: 2 } as const;

/** What a segment needs to be read and continued, whatever else is lost. */
export interface Description {
  schema: Schema;
  /** Rows leave the sorting window when a row so much newer than them (in the key's unit) has come; absent: no window. */
  windowKeys?: bigint | undefined;
}

export interface JournalHeader {
  storeId: Uint8Array;
  firstRow: number;
  description: Description;
}

export function encodeJournalHeader({ storeId, firstRow, description }: JournalHeader): Uint8Array {
  const json = Buffer.from(
    JSON.stringify({
      ...(schemaToJson(description.schema) as object),
      window: description.windowKeys?.toString(),
    }),
  );
  const bytes = new Uint8Array(JOURNAL_HEADER_BYTES + json.byteLength);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, JOURNAL_MAGIC, true);
  view.setUint32(8, JOURNAL_VERSION, true);
  view.setUint32(12, json.byteLength, true);
  bytes.set(storeId, 16);
  view.setBigUint64(32, BigInt(firstRow), true);
  bytes.set(json, JOURNAL_HEADER_BYTES);
  view.setUint32(40, headerChecksum(bytes), true);
  return bytes;
}

function headerChecksum(bytes: Uint8Array): number {
  const covered = new Uint8Array(bytes.byteLength - 4);
  covered.set(bytes.subarray(0, 40));
  covered.set(bytes.subarray(44), 40);
  return checksumOf(covered);
}

/**
 * The header at the start of `bytes`, or why there is none.
 * @throws ERR_STORE_VERSION for a sound header of a newer format
 */
export function decodeJournalHeader(bytes: Uint8Array): (JournalHeader & { sizeBytes: number }) | string {
  if (bytes.byteLength < JOURNAL_HEADER_BYTES) return "it ends within its header";
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getBigUint64(0, true) !== JOURNAL_MAGIC) return "it does not begin as a hot file";
  const sizeBytes = JOURNAL_HEADER_BYTES + view.getUint32(12, true);
  if (sizeBytes > bytes.byteLength) return "its header does not fit";
  const whole = bytes.subarray(0, sizeBytes);
  if (headerChecksum(whole) !== view.getUint32(40, true)) return "its header's checksum is wrong";
  const version = view.getUint32(8, true);
  if (version !== JOURNAL_VERSION) {
    throw new StoreError(
      "ERR_STORE_VERSION",
      `a hot file of format ${version}; this varve knows ${JOURNAL_VERSION}`,
      {
        context: { version, known: JOURNAL_VERSION },
      },
    );
  }
  const json = parse(whole.subarray(JOURNAL_HEADER_BYTES));
  const schema = schemaFromJson(json);
  if (schema === undefined) return "its description is malformed";
  const { window } = json as { window?: string };
  return {
    storeId: whole.slice(16, 32),
    firstRow: Number(view.getBigUint64(32, true)),
    description: { schema, windowKeys: window === undefined ? undefined : BigInt(window) },
    sizeBytes,
  };
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8"));
  } catch {
    return undefined;
  }
}

export interface RecordHeader {
  rows: number;
  ordinal: number;
  synced: number;
  kind: number;
}

/** Completes the record whose payload ends at `end` and begins at `JOURNAL_RECORD_BYTES`. */
export function sealRecord(bytes: Uint8Array, view: DataView, end: number, header: RecordHeader): void {
  view.setUint32(4, end - JOURNAL_RECORD_BYTES, true);
  view.setUint32(8, header.rows, true);
  view.setUint32(12, header.ordinal, true);
  view.setUint32(16, header.synced, true);
  view.setUint32(20, header.kind, true);
  view.setUint32(0, checksumWithin(bytes, view, 4, end), true);
}
