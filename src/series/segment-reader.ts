import type { Disk, DiskFile } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import { checksumOf } from "./checksum.ts";
import type { ColumnSlice } from "./column-slice.ts";
import { ByteSource } from "./columns/byte-source.ts";
import type { ColumnCodec } from "./columns/column-codec.ts";
import type { ColumnBytes, ColumnsDecoder } from "./columns/columns-decoder.ts";
import type { Column } from "./schema.ts";
import {
  BLOCK_ROWS,
  type Bounds,
  FLAG_KEY,
  FLAG_KEY_SORTED,
  FLAG_KNOWN,
  FLAG_KNOWN_SORTED,
  SEGMENT_HEAD_BYTES,
  SEGMENT_MAGIC,
  SEGMENT_TRAILER_BYTES,
  SEGMENT_VERSION,
  type SegmentSummary,
} from "./segment-format.ts";
import { TYPE_CODES } from "./segment-types.ts";
import { codecType } from "./segment-writer.ts";

export interface StoredColumn {
  column: Column;
  /** How it is stored, for people. */
  encoding: string;
  offset: number;
  sizeBytes: number;
  checksum: number;
  /** Places of the columns it is decoded with. */
  dependsOn: number[];
}

/** Reads the trailer: what rows a segment holds and what bounds its keys have. @throws ERR_STORE_CORRUPT */
export function readSummary(file: DiskFile): SegmentSummary {
  const sizeBytes = file.sizeBytes();
  const least = SEGMENT_HEAD_BYTES + SEGMENT_TRAILER_BYTES;
  if (sizeBytes < least) {
    throw damaged(file.path, 0, `it has ${sizeBytes} bytes, fewer than any segment`);
  }
  const trailer = new Uint8Array(SEGMENT_TRAILER_BYTES);
  file.readSync(trailer, sizeBytes - SEGMENT_TRAILER_BYTES);
  const summary = decodeTrailer(file.path, trailer, sizeBytes);
  const head = new Uint8Array(SEGMENT_HEAD_BYTES);
  file.readSync(head, 0);
  return { ...summary, storeId: checkHead(file.path, head) };
}

/** The trailer of a segment of `sizeBytes`; the store's id is in the head. @throws ERR_STORE_CORRUPT */
export function decodeTrailer(
  path: string,
  trailer: Uint8Array,
  sizeBytes: number,
): Omit<SegmentSummary, "storeId"> {
  const trailerAt = sizeBytes - SEGMENT_TRAILER_BYTES;
  const view = new DataView(trailer.buffer, trailer.byteOffset, trailer.byteLength);
  const sound = checksumOf(trailer.subarray(0, 68)) === view.getUint32(68, true);
  if (!sound || view.getBigUint64(72, true) !== SEGMENT_MAGIC) {
    throw damaged(path, trailerAt, "its trailer's checksum is wrong");
  }
  const footerBytes = view.getUint32(0, true);
  if (Number(view.getBigUint64(56, true)) + footerBytes + SEGMENT_TRAILER_BYTES !== sizeBytes) {
    throw damaged(path, trailerAt, "its parts do not fill it");
  }
  const flags = view.getUint32(20, true);
  const bounds = (at: number, present: number, sorted: number) =>
    (flags & present) === 0
      ? undefined
      : {
          min: view.getBigInt64(at, true),
          max: view.getBigInt64(at + 8, true),
          sorted: (flags & sorted) !== 0,
        };
  return {
    firstRow: Number(view.getBigUint64(8, true)),
    rows: view.getUint32(16, true),
    key: bounds(24, FLAG_KEY, FLAG_KEY_SORTED),
    known: bounds(40, FLAG_KNOWN, FLAG_KNOWN_SORTED),
    footerBytes,
    footerChecksum: view.getUint32(4, true),
    sizeBytes,
  };
}

export function isSoundHead(head: Uint8Array): boolean {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const checksum = checksumOf(head.subarray(0, 28));
  return checksum === view.getUint32(28, true) && view.getBigUint64(0, true) === SEGMENT_MAGIC;
}

function checkHead(path: string, head: Uint8Array): Uint8Array {
  if (!isSoundHead(head)) throw damaged(path, 0, "its head's checksum is wrong");
  const version = new DataView(head.buffer).getUint32(8, true);
  if (version === SEGMENT_VERSION) return head.slice(12, 28);
  throw new StoreError(
    "ERR_STORE_VERSION",
    `${path} has segment format ${version}; this varve knows ${SEGMENT_VERSION}`,
    {
      context: { path, version, known: SEGMENT_VERSION },
      hint: "Open the store with the varve that wrote it, or a newer one.",
    },
  );
}

/** An open sealed segment: columns are read and checked when they are first asked for, and kept encoded. */
export class SegmentReader {
  readonly path: string;
  readonly summary: SegmentSummary;
  readonly columns: readonly StoredColumn[];
  readonly #file: DiskFile;
  readonly #codec: ColumnCodec;
  readonly #blocks: readonly (BlockIndex | undefined)[];
  readonly #bytes = new Map<number, ColumnBytes>();
  #decoder: ColumnsDecoder | undefined;

  private constructor(file: DiskFile, codec: ColumnCodec, summary: SegmentSummary, footer: Footer) {
    this.path = file.path;
    this.summary = summary;
    this.#file = file;
    this.#codec = codec;
    this.columns = footer.columns;
    this.#blocks = footer.blocks;
  }

  /**
   * @param known what was read of it before: a sealed segment does not change
   * @throws ERR_NOT_FOUND, ERR_STORE_CORRUPT, ERR_STORE_VERSION
   */
  static open(disk: Disk, path: string, codec: ColumnCodec, known?: SegmentSummary): SegmentReader {
    const file = disk.open(path, { access: "read" });
    try {
      const summary = known ?? readSummary(file);
      const bytes = new Uint8Array(summary.footerBytes);
      const footerAt = summary.sizeBytes - SEGMENT_TRAILER_BYTES - summary.footerBytes;
      file.readSync(bytes, footerAt);
      if (checksumOf(bytes) !== summary.footerChecksum) {
        throw damaged(path, footerAt, "its footer's checksum is wrong");
      }
      return new SegmentReader(file, codec, summary, decodeFooter(path, bytes, summary));
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** Where a column is among `columns`; -1 when the segment has none of that name. */
  placeOf(name: string): number {
    return this.columns.findIndex((stored) => stored.column.name === name);
  }

  /** Bounds of the keys of each 1,024 rows, for the key or the known time. */
  blockIndex(which: "key" | "known"): BlockIndex | undefined {
    return this.#blocks[which === "key" ? 0 : 1];
  }

  /** Rows [from, to) of the column at a place. @throws ERR_STORE_CORRUPT naming file, column and offset */
  read(place: number, from: number, to: number): ColumnSlice {
    this.#load(place);
    this.#decoder ??= this.#codec.decoder([...this.#bytes.values()], this.summary.rows);
    const { column } = this.columns[place]!;
    try {
      const { rows, values, offsets, validity } = this.#decoder.decode(column.name, from, to);
      return { column, rows, values, offsets, validity };
    } catch (error) {
      if (error instanceof StoreError && error.code === "ERR_STORE_CORRUPT") {
        throw damaged(this.path, this.columns[place]!.offset, error.message, column.name);
      }
      throw error;
    }
  }

  /** Reads columns that will be asked for together: those that lie side by side with one call. */
  prepare(places: readonly number[]): void {
    const left = places.filter((place) => !this.#bytes.has(place)).sort((a, b) => a - b);
    for (let first = 0; first < left.length; ) {
      let end = first + 1;
      while (end < left.length && left[end] === left[end - 1]! + 1) end++;
      const run = left.slice(first, end);
      const { offset } = this.columns[run[0]!]!;
      const last = this.columns[run.at(-1)!]!;
      const bytes = this.#bytesAt(offset, last.offset + last.sizeBytes - offset);
      for (const place of run) {
        const { offset: at, sizeBytes } = this.columns[place]!;
        this.#keep(place, bytes.subarray(at - offset, at - offset + sizeBytes));
      }
      first = end;
    }
  }

  #load(place: number): void {
    if (this.#bytes.has(place)) return;
    const { offset, sizeBytes } = this.columns[place]!;
    this.#keep(place, this.#bytesAt(offset, sizeBytes));
  }

  /** Memory that is about to be read into need not be cleared first. */
  #bytesAt(offset: number, sizeBytes: number): Uint8Array {
    const bytes = Buffer.allocUnsafeSlow(sizeBytes);
    return bytes.subarray(0, this.#file.readSync(bytes, offset));
  }

  /** Checks a column's bytes and keeps them, with those of the columns it is decoded with. */
  #keep(place: number, bytes: Uint8Array): void {
    const { column, offset, sizeBytes, checksum, dependsOn } = this.columns[place]!;
    if (checksumOf(bytes) !== checksum) {
      throw damaged(
        this.path,
        offset,
        `the ${sizeBytes} bytes of column "${column.name}" have a wrong checksum`,
        column.name,
      );
    }
    this.#bytes.set(place, { name: column.name, type: codecType(column), bytes });
    this.#decoder = undefined;
    for (const other of dependsOn) this.#load(other);
  }

  close(): void {
    this.#file.close();
  }
}

/** The bounds of blocks of `BLOCK_ROWS` rows. */
export interface BlockIndex {
  place: number;
  bounds: readonly Bounds[];
}

export interface Footer {
  columns: StoredColumn[];
  blocks: (BlockIndex | undefined)[];
}

export function decodeFooter(
  path: string,
  bytes: Uint8Array,
  summary: Pick<SegmentSummary, "rows" | "sizeBytes">,
): Footer {
  const source = new ByteSource(path, bytes);
  const malformed = (what: string) =>
    damaged(path, summary.sizeBytes - SEGMENT_TRAILER_BYTES, `its footer: ${what}`);
  const text = (most: number) => Buffer.from(source.bytes(source.varint(most))).toString("utf8");
  const columns: StoredColumn[] = [];
  const count = source.varint(bytes.byteLength);
  let offset = SEGMENT_HEAD_BYTES;
  for (let place = 0; place < count; place++) {
    const name = text(bytes.byteLength);
    const type = TYPE_CODES[source.u8()];
    const flags = source.u8();
    const nullable = (flags & 1) !== 0;
    if (type === undefined) throw malformed(`column "${name}" has an unknown type`);
    const listSize = source.varint(0xffff_ffff);
    const sizeBytes = source.varint(summary.sizeBytes);
    const checksum = new DataView(new Uint8Array(source.bytes(4)).buffer).getUint32(0, true);
    const dependsOn = Array.from({ length: source.varint(count) }, () => source.varint(count - 1));
    const encoding = (flags & 2) !== 0 ? (columns.at(-1)?.encoding ?? "") : text(bytes.byteLength);
    columns.push({
      column: { name, type, nullable, listSize },
      encoding,
      offset,
      sizeBytes,
      checksum,
      dependsOn,
    });
    offset += sizeBytes;
  }
  const blocks = [0, 1].map((): BlockIndex | undefined => {
    const place = source.varint(count) - 1;
    if (place < 0) return undefined;
    const bounds: Bounds[] = [];
    let previous = 0n;
    for (let block = 0; block * BLOCK_ROWS < summary.rows; block++) {
      const min = BigInt.asIntN(64, previous + source.zigzag64());
      bounds.push({ min, max: BigInt.asIntN(64, min + source.varint64()) });
      previous = min;
    }
    return { place, bounds };
  });
  source.finish();
  return { columns, blocks };
}

function damaged(path: string, offset: number, what: string, column?: string): StoreError {
  return new StoreError("ERR_STORE_CORRUPT", `${path}, offset ${offset}: ${what}`, {
    context: { path, offset, column },
    hint: "Its other columns and all other segments can still be read; `varve repair` mends single flipped bits.",
  });
}
