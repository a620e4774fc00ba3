import { crc32c } from "@node-rs/crc32";
import { lazyZstd } from "../codec/libraries.ts";
import type { Disk, DiskFile } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import { SECTOR_BYTES } from "../limits.ts";
import { ByteReader } from "./byte-reader.ts";
import type { Annotations } from "./change.ts";
import { Entry } from "./entry.ts";
import {
  BLOCK_HEADER_BYTES,
  type BlockHeader,
  BY_CLEAR,
  CHANGE_FENCE,
  CHANGE_MAP,
  CHANGE_SEQUENCE,
  decodeBlockHeader,
  decodeFileHeader,
  FILE_HEADER_BYTES,
  type FileHeader,
  FRAME_RAW_BYTES,
  HAS_AFTER,
  HAS_BEFORE,
  HISTORY_VERSION,
  nextSector,
} from "./history-format.ts";
import { FENCE_KINDS, FLAG_CUT, FLAG_IDEMPOTENCY, KIND_CUT } from "./record-format.ts";
import { readAnnotations } from "./record-reader.ts";

const zstd = lazyZstd();

/** One change as the trail keeps it: names instead of live tables, entries before and after. */
export type PastChange =
  | {
      kind: "map";
      map: string;
      key: string;
      before: Entry | undefined;
      after: Entry | undefined;
      byClear: boolean;
    }
  | { kind: "sequence"; sequence: string; before: bigint; next: bigint; adopts: boolean }
  | { kind: "fence"; fence: { kind: string; number: number; detail: string } | undefined };

export interface PastRecord {
  lsn: number;
  timeUs: number;
  kind: "transaction" | "cut";
  annotations: Annotations;
  idempotencyKey: string | undefined;
  cut: { name: string; body: Uint8Array } | undefined;
  changes: PastChange[];
}

/** Where a block lies. */
export interface BlockPlace extends BlockHeader {
  path: string;
  offset: number;
}

function damagedHistory(path: string, offset: number, problem: string, more = {}): StoreError {
  return new StoreError("ERR_STORE_CORRUPT", `history ${path}: ${problem} (byte ${offset})`, {
    context: { path, offset, problem, ...more },
    hint: "The current state is not affected; a backup may hold this part of the history.",
  });
}

export function readFileHeader(file: DiskFile): FileHeader {
  const bytes = Buffer.alloc(FILE_HEADER_BYTES);
  file.readSync(bytes, 0);
  const header = decodeFileHeader(bytes);
  if (header === undefined) throw damagedHistory(file.path, 0, "its header is not whole");
  if (header.version !== HISTORY_VERSION) {
    throw new StoreError("ERR_STORE_VERSION", `history ${file.path} has format version ${header.version}`, {
      context: { path: file.path, version: header.version, supported: HISTORY_VERSION },
      hint: "Open the store with the varve that wrote it.",
    });
  }
  return header;
}

/** The headers of the blocks of one file, up to `end`; the contents behind them are not checked here. */
export function blockPlaces(disk: Disk, path: string, end: number): BlockPlace[] {
  const places: BlockPlace[] = [];
  const stopped = walkPlaces(disk, path, end, (place) => places.push(place));
  if (stopped === undefined) return places;
  throw damagedHistory(path, stopped, "a block is cut off or its header is damaged", {
    afterLsn: places.at(-1)?.lastLsn,
  });
}

/** The same as far as they are whole. */
export function wholePlaces(disk: Disk, path: string): BlockPlace[] {
  const places: BlockPlace[] = [];
  walkPlaces(disk, path, Number.POSITIVE_INFINITY, (place) => places.push(place));
  return places;
}

/** Where the walk had to stop before the end, if it had to. */
function walkPlaces(
  disk: Disk,
  path: string,
  end: number,
  found: (place: BlockPlace) => void,
): number | undefined {
  const file = disk.open(path, { access: "read" });
  try {
    const bytes = Buffer.alloc(BLOCK_HEADER_BYTES);
    const sizeBytes = Math.min(end, file.sizeBytes());
    for (let offset = SECTOR_BYTES; offset < sizeBytes; ) {
      const got = file.readSync(bytes, offset);
      const header = got < BLOCK_HEADER_BYTES ? undefined : decodeBlockHeader(bytes);
      if (header === undefined) return offset;
      const sizeOfBlock = BLOCK_HEADER_BYTES + header.filterBytes + header.storedBytes;
      if (offset + sizeOfBlock > sizeBytes) return offset;
      found({ path, offset, ...header });
      offset = nextSector(offset + sizeOfBlock);
    }
    return undefined;
  } finally {
    file.close();
  }
}

/** A block's filter and raw bytes, checked. @throws ERR_STORE_CORRUPT naming its LSN range */
export function readBlock(file: DiskFile, place: BlockPlace): Buffer {
  const sizeBytes = BLOCK_HEADER_BYTES + place.filterBytes + place.storedBytes;
  const bytes = Buffer.allocUnsafeSlow(sizeBytes);
  const got = file.readSync(bytes, place.offset);
  const lsns = { firstLsn: place.firstLsn, lastLsn: place.lastLsn };
  if (got < sizeBytes || crc32c(bytes.subarray(4)) !== bytes.readUInt32LE(0)) {
    throw damagedHistory(
      place.path,
      place.offset,
      `the block of LSN ${place.firstLsn} to ${place.lastLsn} fails its checksum`,
      lsns,
    );
  }
  const raw = decompress(bytes, BLOCK_HEADER_BYTES + place.filterBytes, place.rawBytes);
  if (raw !== undefined) return raw;
  throw damagedHistory(
    place.path,
    place.offset,
    `the block of LSN ${place.firstLsn} to ${place.lastLsn} does not decompress`,
    lsns,
  );
}

/** The raw bytes of the frames from a place on; `undefined` when they are not exactly that many. */
function decompress(stored: Buffer, from: number, rawBytes: number): Buffer | undefined {
  const raw = Buffer.allocUnsafeSlow(rawBytes);
  let at = from;
  for (let done = 0; done < rawBytes; done += FRAME_RAW_BYTES) {
    if (at + 4 > stored.byteLength) return undefined;
    const end = at + 4 + stored.readUInt32LE(at);
    if (end > stored.byteLength) return undefined;
    const piece = zstd.decode(stored.subarray(at + 4, end), Math.min(FRAME_RAW_BYTES, rawBytes - done));
    if (piece === undefined) return undefined;
    raw.set(piece, done);
    at = end;
  }
  return at === stored.byteLength ? raw : undefined;
}

/** What the block may hold. @throws ERR_STORE_CORRUPT naming its LSN range */
export function readFilter(file: DiskFile, place: BlockPlace): Buffer {
  const filter = Buffer.alloc(place.filterBytes);
  file.readSync(filter, place.offset + BLOCK_HEADER_BYTES);
  if (crc32c(filter) === place.filterCrc) return filter;
  const { path, offset, firstLsn, lastLsn } = place;
  const problem = `the filter of LSN ${firstLsn} to ${lastLsn} fails its checksum`;
  throw damagedHistory(path, offset, problem, { firstLsn, lastLsn });
}

/** The records of a block's raw bytes. */
export function* blockRecords(raw: Buffer, path: string): Generator<PastRecord> {
  const input = new ByteReader(`history ${path}`, raw);
  const names: string[] = [];
  while (input.position < input.end) {
    const lsn = input.u64();
    const timeUs = input.u64();
    const kind = input.u8() === KIND_CUT ? "cut" : "transaction";
    const flags = input.u8();
    const annotations = readAnnotations(input, flags);
    const idempotencyKey = (flags & FLAG_IDEMPOTENCY) !== 0 ? input.text16() : undefined;
    let cut: PastRecord["cut"];
    if ((flags & FLAG_CUT) !== 0) {
      cut = { name: input.text16(), body: Uint8Array.from(input.bytes(input.length())) };
    }
    const changes: PastChange[] = [];
    for (let count = input.varint(); count > 0; count--) changes.push(readChange(input, names));
    yield { lsn, timeUs, kind, annotations, idempotencyKey, cut, changes };
  }
}

function readChange(input: ByteReader, names: string[]): PastChange {
  const code = input.u8();
  switch (code) {
    case CHANGE_MAP: {
      const map = readName(input, names);
      const key = input.text16();
      const flags = input.u8();
      const after = (flags & HAS_AFTER) !== 0 ? readVersion(input) : undefined;
      const before = (flags & HAS_BEFORE) !== 0 ? readVersion(input) : undefined;
      return { kind: "map", map, key, before, after, byClear: (flags & BY_CLEAR) !== 0 };
    }
    case CHANGE_SEQUENCE: {
      const sequence = readName(input, names);
      const before = input.i64();
      return { kind: "sequence", sequence, before, next: input.i64(), adopts: input.u8() === 1 };
    }
    case CHANGE_FENCE: {
      const kind = FENCE_KINDS[input.u8() - 1];
      const number = input.varint();
      const detail = input.text16();
      return { kind: "fence", fence: kind === undefined ? undefined : { kind, number, detail } };
    }
    default:
      throw input.corrupt(`unknown change code ${code}`);
  }
}

function readName(input: ByteReader, names: string[]): string {
  const number = input.varint();
  if (number === names.length) names.push(input.text16());
  const name = names[number];
  if (name === undefined) throw input.corrupt(`name ${number} is not defined`);
  return name;
}

function readVersion(input: ByteReader): Entry {
  const schemaVersion = input.varint();
  const lsn = input.u64();
  const expiresAtUs = input.u64();
  const length = input.length();
  input.need(length);
  const entry = new Entry(input.buffer, input.position, length, schemaVersion, expiresAtUs, lsn);
  input.position += length;
  // Not the whole block with it.
  entry.moveTo(Buffer.allocUnsafe(length), 0);
  return entry;
}
