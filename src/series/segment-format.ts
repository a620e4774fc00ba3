/**
 * A sealed segment: rows that no longer change, a column after the other (docs/formats/series.md).
 *
 *     head      0  magic "VARVESEG"
 *               8  u32 format version
 *              12  store id, 16 bytes
 *              28  u32 CRC-32C of bytes 0-27
 *     columns  32  the encoded bytes of each column, one after the other
 *     footer       what the columns are, where they lie and their checksums; the block index
 *     trailer      the last 80 bytes: where the footer lies, what rows these are, bounds of their keys
 *
 * Own bytes and not Arrow IPC: nobody else could decode the columns, and IPC has no checksums and pays hundreds of
 * bytes of metadata a column. `export` gives plain Arrow IPC, Parquet and CSV.
 */
export const SEGMENT_MAGIC = 0x4745_5345_5652_4156n; // "VARVESEG"
export const SEGMENT_VERSION = 1;
export const SEGMENT_HEAD_BYTES = 32;
export const SEGMENT_TRAILER_BYTES = 80;

/** Rows whose keys' bounds are kept together, so that a seek decodes few of them. */
export const BLOCK_ROWS = 1024;

/** Bits of the trailer's flags. */
export const FLAG_KEY = 1;
export const FLAG_KEY_SORTED = 2;
export const FLAG_KNOWN = 4;
export const FLAG_KNOWN_SORTED = 8;

/** Least and greatest of some keys, as the column holds them. */
export interface Bounds {
  min: bigint;
  max: bigint;
}

/** What is known of a segment without reading its columns: the trailer. */
export interface SegmentSummary {
  storeId: Uint8Array;
  firstRow: number;
  rows: number;
  key: (Bounds & { sorted: boolean }) | undefined;
  known: (Bounds & { sorted: boolean }) | undefined;
  footerBytes: number;
  footerChecksum: number;
  sizeBytes: number;
}

/** `000000000131072+131072.seg`: a directory's names in order are its segments in order. */
export function segmentFileName(firstRow: number, rows: number): string {
  return `${String(firstRow).padStart(16, "0")}+${rows}.seg`;
}

export function hotFileName(firstRow: number): string {
  return `${String(firstRow).padStart(16, "0")}.hot`;
}

export interface SegmentName {
  name: string;
  kind: "sealed" | "hot";
  firstRow: number;
  /** Of a sealed segment. */
  rows: number;
}

/** What a file of a series' directory is by its name; `undefined` for any other. */
export function parseSegmentName(name: string): SegmentName | undefined {
  const match = /^(\d{16})(?:\+(\d{1,10})\.seg|\.hot)$/.exec(name);
  if (match === null) return undefined;
  const firstRow = Number(match[1]);
  return match[2] === undefined
    ? { name, kind: "hot", firstRow, rows: 0 }
    : { name, kind: "sealed", firstRow, rows: Number(match[2]) };
}
