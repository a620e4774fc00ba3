import { ZIP_DIRECTORY_BYTES_MAX, ZIP_ENTRIES_MAX } from "../src/limits.ts";
import type { ByteSource } from "./byte-source.ts";
import { malformed, type StrictFormat } from "./malformed.ts";

/*
 * The part of ZIP that `.pt` and `.npz` files use: where each entry's bytes lie. Nothing is inflated here.
 *
 *   [local header, name, extra, data]*   [central header, name, extra, comment]*   [zip64 end]   end
 *
 * Source: APPNOTE.TXT 6.3.10, sections 4.3.7 (local), 4.3.12 (central), 4.3.14 and 4.3.15 (zip64), 4.3.16 (end), 4.5.3.
 */

const ZIP_MAGIC = 0x04034b50;
const CENTRAL_MAGIC = 0x02014b50;
const END_MAGIC = 0x06054b50;
const END64_MAGIC = 0x06064b50;
const LOCATOR64_MAGIC = 0x07064b50;
const LOCAL_BYTES = 30;
const CENTRAL_BYTES = 46;
const END_BYTES = 22;
const LOCATOR64_BYTES = 20;
const END64_BYTES = 56;
const COMMENT_BYTES_MAX = 0xffff;
const U32_MAX = 0xffffffff;
const U16_MAX = 0xffff;

export interface ZipEntry {
  name: string;
  /** Kept as it is: neither compressed nor encrypted. */
  stored: boolean;
  /** The data's first byte, from the start of the file. */
  offset: number;
  /** Bytes of the data in the file. */
  sizeBytes: number;
}

/** Whether a file begins as a ZIP archive does. */
export function looksLikeZip(head: Uint8Array): boolean {
  return head.byteLength >= 4 && viewOf(head).getUint32(0, true) === ZIP_MAGIC;
}

/**
 * The entries of an archive, by place; no two share a byte.
 * @throws `ERR_FORMAT_<format>` when the archive contradicts itself or has more entries than `ZIP_ENTRIES_MAX`
 */
export function readZipEntries(source: ByteSource, format: StrictFormat): ZipEntry[] {
  const fail = (problem: string, offset: number): never => {
    throw malformed(format, { rule: "zip", problem, offset });
  };
  const { entries: count, offset, sizeBytes } = findDirectory(source, fail);
  if (count > ZIP_ENTRIES_MAX) fail(`${count} entries; at most ${ZIP_ENTRIES_MAX} are allowed`, offset);
  if (sizeBytes > ZIP_DIRECTORY_BYTES_MAX) fail(`a directory of ${sizeBytes} bytes`, offset);
  if (offset + sizeBytes > source.sizeBytes) fail("a directory past the end of the file", offset);
  const directory = source.read(offset, sizeBytes);
  const view = viewOf(directory);
  const entries: ZipEntry[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + CENTRAL_BYTES > directory.byteLength || view.getUint32(at, true) !== CENTRAL_MAGIC) {
      fail("an entry of the directory that is none", offset + at);
    }
    const nameBytes = view.getUint16(at + 28, true);
    const extraBytes = view.getUint16(at + 30, true);
    const next = at + CENTRAL_BYTES + nameBytes + extraBytes + view.getUint16(at + 32, true);
    if (next > directory.byteLength) fail("a directory that ends inside an entry", offset + at);
    const nameAt = at + CENTRAL_BYTES;
    const name = Buffer.from(directory.subarray(nameAt, nameAt + nameBytes)).toString("utf8");
    const extra = directory.subarray(nameAt + nameBytes, nameAt + nameBytes + extraBytes);
    const sizes = readSizes(view, at, extra, () =>
      fail("an entry whose zip64 sizes are missing", offset + at),
    );
    const encrypted = (view.getUint16(at + 8, true) & 1) !== 0;
    entries.push({
      name,
      stored: view.getUint16(at + 10, true) === 0 && !encrypted && sizes.stored === sizes.raw,
      offset: dataOffset(source, sizes.header, fail),
      sizeBytes: sizes.stored,
    });
    at = next;
  }
  entries.sort((a, b) => a.offset - b.offset || a.sizeBytes - b.sizeBytes);
  entries.forEach((entry, i) => {
    const end = entries[i + 1]?.offset ?? offset;
    if (entry.offset + entry.sizeBytes > end) fail(`entries that overlap: ${entry.name}`, entry.offset);
  });
  return entries;
}

type Fail = (problem: string, offset: number) => never;

function findDirectory(
  source: ByteSource,
  fail: Fail,
): { entries: number; offset: number; sizeBytes: number } {
  const tailBytes = Math.min(source.sizeBytes, END_BYTES + COMMENT_BYTES_MAX);
  const tailAt = source.sizeBytes - tailBytes;
  const tail = source.read(tailAt, tailBytes);
  const view = viewOf(tail);
  let at = tail.byteLength - END_BYTES;
  // The comment after it must end where the file does: a signature inside a comment is not taken for the end.
  while (
    at >= 0 &&
    (view.getUint32(at, true) !== END_MAGIC ||
      at + END_BYTES + view.getUint16(at + 20, true) !== tail.byteLength)
  ) {
    at--;
  }
  if (at < 0) return fail("no end of the directory: not a whole ZIP archive", source.sizeBytes);
  const end = {
    entries: view.getUint16(at + 10, true),
    sizeBytes: view.getUint32(at + 12, true),
    offset: view.getUint32(at + 16, true),
  };
  if (end.entries !== U16_MAX && end.sizeBytes !== U32_MAX && end.offset !== U32_MAX) return end;
  return findDirectory64(source, tailAt + at - LOCATOR64_BYTES, fail) ?? end;
}

function findDirectory64(
  source: ByteSource,
  locatorAt: number,
  fail: Fail,
): { entries: number; offset: number; sizeBytes: number } | undefined {
  if (locatorAt < 0) return undefined;
  const locator = viewOf(source.read(locatorAt, LOCATOR64_BYTES));
  if (locator.getUint32(0, true) !== LOCATOR64_MAGIC) return undefined;
  const at = exact(locator, 8, () => fail("a zip64 end past 2^53", locatorAt));
  if (at + END64_BYTES > locatorAt) fail("a zip64 end that is not before its locator", locatorAt);
  const end = viewOf(source.read(at, END64_BYTES));
  if (end.getUint32(0, true) !== END64_MAGIC) fail("a zip64 locator that points elsewhere", locatorAt);
  const number = (place: number) => exact(end, place, () => fail("a zip64 number past 2^53", at));
  return { entries: number(32), sizeBytes: number(40), offset: number(48) };
}

/** Sizes and place of one entry; those that are all ones stand, in this order, in the zip64 field. */
function readSizes(
  view: DataView,
  at: number,
  extra: Uint8Array,
  fail: () => never,
): { stored: number; raw: number; header: number } {
  const wide = zip64Field(extra);
  let wideAt = 0;
  const wideNumber = (): number => {
    if (wide === undefined || wideAt + 8 > wide.byteLength) return fail();
    wideAt += 8;
    return exact(viewOf(wide), wideAt - 8, fail);
  };
  const number = (place: number) => {
    const value = view.getUint32(at + place, true);
    return value === U32_MAX ? wideNumber() : value;
  };
  const raw = number(24);
  const stored = number(20);
  return { stored, raw, header: number(42) };
}

function zip64Field(extra: Uint8Array): Uint8Array | undefined {
  const view = viewOf(extra);
  for (let at = 0; at + 4 <= extra.byteLength; ) {
    const sizeBytes = view.getUint16(at + 2, true);
    if (view.getUint16(at, true) === 1) return extra.subarray(at + 4, at + 4 + sizeBytes);
    at += 4 + sizeBytes;
  }
  return undefined;
}

/** The local header may have other extra fields than the central one: only it says where the data begins. */
function dataOffset(source: ByteSource, headerAt: number, fail: Fail): number {
  const header = source.read(headerAt, LOCAL_BYTES);
  if (header.byteLength < LOCAL_BYTES || viewOf(header).getUint32(0, true) !== ZIP_MAGIC) {
    return fail("an entry whose local header is not where the directory says", headerAt);
  }
  const view = viewOf(header);
  return headerAt + LOCAL_BYTES + view.getUint16(26, true) + view.getUint16(28, true);
}

function exact(view: DataView, at: number, fail: () => never): number {
  const value = view.getBigUint64(at, true);
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? fail() : Number(value);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
