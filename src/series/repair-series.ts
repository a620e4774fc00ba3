import type { Disk } from "../disk/disk.ts";
import { replaceFile } from "../disk/replace-file.ts";
import { isStoreError } from "../errors.ts";
import { flipBit, flippedBit, flipUntil } from "../flipped-bit.ts";
import { checksumOf } from "./checksum.ts";
import { decodeJournalHeader, JOURNAL_HEADER_BYTES, JOURNAL_RECORD_BYTES } from "./journal-format.ts";
import { SEGMENT_HEAD_BYTES, SEGMENT_TRAILER_BYTES } from "./segment-format.ts";
import { decodeFooter, decodeTrailer, isSoundHead } from "./segment-reader.ts";
import { decodeSeriesFile } from "./series-file.ts";

/**
 * Turns back one flipped bit in a file of a series, as the checksum it falls under names it. The file is written
 * beside its place and renamed.
 * @returns whether the file is sound again; otherwise it is untouched
 */
export function healSeriesFile(disk: Disk, path: string): boolean {
  const bytes = readWhole(disk, path);
  const heal = path.endsWith(".json") ? healDefinition : path.endsWith(".hot") ? healJournal : healSegment;
  if (!heal(bytes, path)) return false;
  replaceFile(disk, path, bytes);
  return true;
}

function readWhole(disk: Disk, path: string): Buffer {
  const file = disk.open(path, { access: "read" });
  try {
    const bytes = Buffer.alloc(file.sizeBytes());
    file.readSync(bytes, 0);
    return bytes;
  } finally {
    file.close();
  }
}

function sound(call: () => unknown): boolean {
  try {
    call();
    return true;
  } catch (error) {
    if (isStoreError(error)) return false;
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

function healDefinition(bytes: Buffer, path: string): boolean {
  return flipUntil(bytes, bytes.byteLength, () => sound(() => decodeSeriesFile(bytes, path)));
}

function healSegment(bytes: Buffer, path: string): boolean {
  if (bytes.byteLength < SEGMENT_HEAD_BYTES + SEGMENT_TRAILER_BYTES) return false;
  let healed = false;
  const head = bytes.subarray(0, SEGMENT_HEAD_BYTES);
  if (!isSoundHead(head)) healed = flipUntil(head, head.byteLength, () => isSoundHead(head));
  const trailer = bytes.subarray(bytes.byteLength - SEGMENT_TRAILER_BYTES);
  const hasTrailer = () => sound(() => decodeTrailer(path, trailer, bytes.byteLength));
  if (!hasTrailer() && !flipUntil(trailer, trailer.byteLength, hasTrailer)) return false;
  const summary = decodeTrailer(path, trailer, bytes.byteLength);
  const footerAt = bytes.byteLength - SEGMENT_TRAILER_BYTES - summary.footerBytes;
  const footer = bytes.subarray(footerAt, footerAt + summary.footerBytes);
  healed = flipBack(footer, summary.footerChecksum) || healed;
  if (checksumOf(footer) !== summary.footerChecksum) return false;
  for (const { offset, sizeBytes, checksum } of decodeFooter(path, footer, summary).columns) {
    healed = flipBack(bytes.subarray(offset, offset + sizeBytes), checksum) || healed;
    if (checksumOf(bytes.subarray(offset, offset + sizeBytes)) !== checksum) return false;
  }
  return healed || isSoundHead(head);
}

/** Flips back the bit that a checksum names; `false` when nothing is wrong or no single bit explains it. */
function flipBack(bytes: Uint8Array, wanted: number): boolean {
  const bit = flippedBit(bytes, wanted, checksumOf(bytes));
  if (bit !== undefined) flipBit(bytes, bit);
  return bit !== undefined;
}

function healJournal(bytes: Buffer): boolean {
  const header = () => decodeJournalHeader(bytes);
  const isHeader = () => sound(header) && typeof header() === "object";
  if (!isHeader()) return flipUntil(bytes, Math.min(bytes.byteLength, HEADER_REACH_BYTES), isHeader);
  const decoded = header();
  if (typeof decoded === "string") return false;
  const at = damagedRecord(bytes, decoded.sizeBytes);
  if (at === undefined) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const whole = () => isRecord(bytes, view, at);
  // A flip in the checksum or the length is found by trying; one in what follows is named by the checksum.
  if (flipUntil(bytes.subarray(at, at + 8), 8, whole)) return true;
  const end = at + JOURNAL_RECORD_BYTES + view.getUint32(at + 4, true);
  if (end > bytes.byteLength) return false;
  return flipBack(bytes.subarray(at + 4, end), view.getUint32(at, true)) && whole();
}

/** A flip is looked for so far: a header with the schema of a wide book. */
const HEADER_REACH_BYTES = JOURNAL_HEADER_BYTES + 4096;

/** Where the first record lies that is none, though bytes follow. */
function damagedRecord(bytes: Buffer, from: number): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = from; at + JOURNAL_RECORD_BYTES <= bytes.byteLength; ) {
    if (isRecord(bytes, view, at)) {
      at += JOURNAL_RECORD_BYTES + view.getUint32(at + 4, true);
      continue;
    }
    const next = Math.ceil((at + 1) / 512) * 512;
    if (bytes.subarray(at, Math.min(next, bytes.byteLength)).some((byte) => byte !== 0)) return at;
    at = next;
  }
  return undefined;
}

function isRecord(bytes: Buffer, view: DataView, at: number): boolean {
  const end = at + JOURNAL_RECORD_BYTES + view.getUint32(at + 4, true);
  return end <= bytes.byteLength && checksumOf(bytes.subarray(at + 4, end)) === view.getUint32(at, true);
}
