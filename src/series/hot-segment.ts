import type { Disk } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import { HotRows } from "./hot-rows.ts";
import { type Description, RECORD_KINDS } from "./journal-format.ts";
import { type JournalEnd, JournalReader, type JournalRecord } from "./journal-reader.ts";
import { pairToBigInt } from "./key-value.ts";
import { RowLayout } from "./row-layout.ts";
import { SortWindow } from "./sort-window.ts";

/** The rows of a hot file in memory, as its records make them: the writer, readers and sealing all see the same. */
export class HotSegment {
  readonly firstRow: number;
  readonly description: Description;
  readonly rows: HotRows;
  readonly window: SortWindow | undefined;
  readonly #layout: RowLayout;

  constructor(firstRow: number, description: Description) {
    this.firstRow = firstRow;
    this.description = description;
    this.rows = new HotRows(description.schema);
    this.#layout = new RowLayout(description.schema);
    this.window = description.windowKeys === undefined ? undefined : new SortWindow(description.windowKeys);
  }

  /** The number after its last row's. */
  get endRow(): number {
    return this.firstRow + this.rows.rows;
  }

  /** Takes over what a record says. Rows of a series that sorts come one by one. */
  apply({
    kind,
    bytes,
    view,
    at,
    rows,
  }: Pick<JournalRecord, "kind" | "bytes" | "view" | "at" | "rows">): void {
    if (kind === RECORD_KINDS.drain) this.window?.drain((payload) => this.#push(payload));
    if (kind === RECORD_KINDS.rows) this.add(bytes, view, at, rows);
  }

  /** Takes over rows of a payload that begins at `at`. */
  add(bytes: Uint8Array, view: DataView, at: number, rows: number): void {
    if (this.window === undefined) {
      this.rows.push(bytes, view, at, rows);
      return;
    }
    const { keyAt, end } = this.#layout.measure(view, at);
    const key = pairToBigInt(view.getInt32(keyAt + 4, true), view.getUint32(keyAt, true));
    this.window.add(key, bytes.subarray(at, end), (payload) => this.#push(payload));
  }

  #push(payload: Uint8Array): void {
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    this.rows.push(payload, view, 0, 1);
  }
}

/** A hot file that is read while another process may still write it. */
export class HotReader {
  readonly segment: HotSegment;
  readonly #reader: JournalReader;
  #ordinal = 0;
  #synced = 0;

  private constructor(reader: JournalReader, segment: HotSegment) {
    this.#reader = reader;
    this.segment = segment;
  }

  /**
   * `undefined` for a file that never got a whole header and holds no row that was durable.
   * @throws ERR_NOT_FOUND, ERR_STORE_CORRUPT for a damaged header before durable rows
   */
  static open(disk: Disk, path: string): HotReader | undefined {
    const file = disk.open(path, { access: "read" });
    try {
      const reader = new JournalReader(file);
      const header = reader.readHeader();
      if (typeof header === "string") {
        if (reader.holdsDurableRows()) throw damagedHeader(path, header);
        file.close();
        return undefined;
      }
      return new HotReader(reader, new HotSegment(header.firstRow, header.description));
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** Reads what has been appended since. */
  refresh(): void {
    for (let record = this.#reader.next(); record !== undefined; record = this.#reader.next()) {
      this.segment.apply(record);
      this.#ordinal += record.rows;
      this.#synced = Math.max(this.#synced, record.synced);
    }
  }

  /** Rows that records say were durable. */
  get synced(): number {
    return this.#synced;
  }

  /** Rows read so far, those in the sorting window included. */
  get ordinal(): number {
    return this.#ordinal;
  }

  get position(): number {
    return this.#reader.position;
  }

  /** Judges what lies behind the rows read. */
  end(): JournalEnd {
    return this.#reader.end();
  }

  close(): void {
    this.#reader.close();
  }
}

function damagedHeader(path: string, what: string): StoreError {
  return new StoreError("ERR_STORE_CORRUPT", `${path}, offset 0: ${what}`, {
    context: { path, offset: 0 },
    hint: "All sealed segments can be read. `varve repair` turns back a flipped bit.",
  });
}

export interface RecoveredHot {
  segment: HotSegment;
  /** Rows in the file, those in the sorting window included. */
  ordinal: number;
  /** Rows that the file says were durable. */
  synced: number;
  /** Where the last good record ends. */
  position: number;
  end: JournalEnd;
}

/**
 * Reads a hot file whose writer is gone.
 * @returns `undefined` when it never got a whole header and so holds no row that was durable
 * @throws ERR_STORE_CORRUPT for damage to rows that had been durable
 */
export function recoverHot(disk: Disk, path: string): RecoveredHot | undefined {
  const reader = HotReader.open(disk, path);
  if (reader === undefined) return undefined;
  try {
    reader.refresh();
    const end = reader.end();
    if (end.kind === "rot") {
      const what = `${end.sizeBytes} bytes are damaged: ${end.lostRows} rows from row ${reader.segment.endRow} on`;
      throw new StoreError("ERR_STORE_CORRUPT", `${path}, offset ${end.offset}: ${what}`, {
        context: { path, offset: end.offset, sizeBytes: end.sizeBytes, lostRows: end.lostRows },
        hint: "All sealed segments can be read. `varve repair` turns back a flipped bit, or keeps the rows before it.",
      });
    }
    const { segment, ordinal, synced, position } = reader;
    return { segment, ordinal, synced, position, end };
  } finally {
    reader.close();
  }
}
