import type { DiskFile } from "../disk/disk.ts";
import { SECTOR_BYTES, SERIES_HOT_BYTES_MAX, SERIES_RECORD_ROWS_MAX } from "../limits.ts";
import { checksumOf } from "./checksum.ts";
import {
  DESCRIPTION_BYTES_MAX,
  decodeJournalHeader,
  JOURNAL_HEADER_BYTES,
  JOURNAL_RECORD_BYTES,
  type JournalHeader,
  RECORD_KINDS,
  type RecordHeader,
} from "./journal-format.ts";

export interface JournalRecord extends RecordHeader {
  /** The buffer that holds the payload, until the next call. */
  bytes: Uint8Array;
  view: DataView;
  /** Where the payload begins in it. */
  at: number;
  /** Where the record begins in the file. */
  offset: number;
}

/** Why a journal ends where it does. */
export type JournalEnd =
  | { kind: "clean" }
  /** An append that a crash cut off: nothing that was durable is behind it. */
  | { kind: "torn"; offset: number; sizeBytes: number }
  /** Damage to what had been durable: later records say so. */
  | { kind: "rot"; offset: number; sizeBytes: number; lostRows: number };

const WINDOW_BYTES = 64 << 10;
const ZEROS = Buffer.alloc(WINDOW_BYTES);

/** A window that nobody uses: opening many series needs one after the other. */
let spare: Uint8Array<ArrayBuffer> | undefined;

/** Reads a hot file from its start, and goes on when its writer has appended more. */
export class JournalReader {
  readonly #file: DiskFile;
  #window = spare ?? new Uint8Array(WINDOW_BYTES);
  #view = new DataView(this.#window.buffer);
  #windowAt = 0;
  #windowBytes = 0;
  #position = 0;
  #ordinal = 0;

  constructor(file: DiskFile) {
    this.#file = file;
    spare = undefined;
  }

  /** Nothing more is read; what records named as their bytes is used for others. */
  close(): void {
    if (this.#window.byteLength === WINDOW_BYTES) spare = this.#window;
    this.#window = new Uint8Array(0);
    this.#file.close();
  }

  /** Where the next record begins. */
  get position(): number {
    return this.#position;
  }

  /** The file's header, or what is wrong with it. Comes first. */
  readHeader(): JournalHeader | string {
    let header: ReturnType<typeof decodeJournalHeader> = "it ends within its header";
    if (this.#load(0, JOURNAL_HEADER_BYTES) >= 0) {
      const sizeBytes =
        JOURNAL_HEADER_BYTES + Math.min(this.#view.getUint32(12, true), DESCRIPTION_BYTES_MAX);
      this.#load(0, sizeBytes);
      header = decodeJournalHeader(this.#window.subarray(0, this.#windowBytes));
    }
    if (typeof header === "object") this.#position = header.sizeBytes;
    return header;
  }

  /** The next whole record, or `undefined` where there is none (yet). */
  next(): JournalRecord | undefined {
    const record = this.#recordAt(this.#position) ?? this.#recordAfterPadding();
    if (record === undefined || record.ordinal !== this.#ordinal) {
      // Read again next time: the writer may be in the middle of it.
      this.#windowBytes = 0;
      return undefined;
    }
    this.#position = record.offset + JOURNAL_RECORD_BYTES + this.#view.getUint32(record.at - 20, true);
    this.#ordinal += record.rows;
    return record;
  }

  /** Judges what lies behind the last good record. */
  end(): JournalEnd {
    const sizeBytes = this.#file.sizeBytes();
    const offset = this.#position;
    const lastUsed = this.#lastUsed(offset, sizeBytes);
    if (lastUsed < offset) return { kind: "clean" };
    for (let at = offset + 1; at + JOURNAL_RECORD_BYTES <= lastUsed + JOURNAL_RECORD_BYTES; at++) {
      const later = this.#recordAt(at);
      if (later === undefined || later.ordinal < this.#ordinal) continue;
      if (later.synced > this.#ordinal) {
        return { kind: "rot", offset, sizeBytes: at - offset, lostRows: later.ordinal - this.#ordinal };
      }
    }
    return { kind: "torn", offset, sizeBytes: lastUsed + 1 - offset };
  }

  /** Whether any record, wherever it lies, says that rows of the file were durable: asked when the header is damaged. */
  holdsDurableRows(): boolean {
    const lastUsed = this.#lastUsed(0, this.#file.sizeBytes());
    for (let at = 0; at <= lastUsed; at++) if ((this.#recordAt(at)?.synced ?? 0) > 0) return true;
    return false;
  }

  /** The last byte from `from` on that is not zero, or less than `from`. */
  #lastUsed(from: number, sizeBytes: number): number {
    // The window's own memory: what it held is read again when it is asked for.
    const piece = this.#window.subarray(0, WINDOW_BYTES);
    this.#windowBytes = 0;
    for (let end = sizeBytes; end > from; end -= piece.byteLength) {
      const start = Math.max(from, end - piece.byteLength);
      const count = this.#file.readSync(piece.subarray(0, end - start), start);
      if (ZEROS.compare(piece, 0, count, 0, count) === 0) continue;
      for (let i = count - 1; i >= 0; i--) if (piece[i] !== 0) return start + i;
    }
    return from - 1;
  }

  /** After a sync, what comes next begins in a new sector, and zeros lie between. */
  #recordAfterPadding(): JournalRecord | undefined {
    const next = Math.ceil(this.#position / SECTOR_BYTES) * SECTOR_BYTES;
    if (next === this.#position) return undefined;
    const at = this.#load(this.#position, next - this.#position);
    if (at < 0) return undefined;
    for (let i = at; i < at + next - this.#position; i++) if (this.#window[i] !== 0) return undefined;
    return this.#recordAt(next);
  }

  #recordAt(offset: number): JournalRecord | undefined {
    let at = this.#load(offset, JOURNAL_RECORD_BYTES);
    if (at < 0) return undefined;
    const payloadBytes = this.#view.getUint32(at + 4, true);
    const rows = this.#view.getUint32(at + 8, true);
    const kind = this.#view.getUint32(at + 20, true);
    if (kind > RECORD_KINDS.drain || rows > SERIES_RECORD_ROWS_MAX) return undefined;
    if (payloadBytes > SERIES_HOT_BYTES_MAX || (kind === RECORD_KINDS.rows) !== rows > 0) return undefined;
    const end = JOURNAL_RECORD_BYTES + payloadBytes;
    // Bytes that are no record may name any length: room is made only for what the file can hold.
    if (end > this.#window.byteLength && offset + end > this.#file.sizeBytes()) return undefined;
    at = this.#load(offset, end);
    if (at < 0) return undefined;
    if (checksumOf(this.#window.subarray(at + 4, at + end)) !== this.#view.getUint32(at, true))
      return undefined;
    return {
      rows,
      kind,
      ordinal: this.#view.getUint32(at + 12, true),
      synced: this.#view.getUint32(at + 16, true),
      bytes: this.#window,
      view: this.#view,
      at: at + JOURNAL_RECORD_BYTES,
      offset,
    };
  }

  /** Has bytes [offset, offset + count) in the window and returns where; -1 when the file ends before. */
  #load(offset: number, count: number): number {
    const at = offset - this.#windowAt;
    if (at >= 0 && at + count <= this.#windowBytes) return at;
    if (count > this.#window.byteLength) {
      this.#window = new Uint8Array(count * 2);
      this.#view = new DataView(this.#window.buffer);
    }
    this.#windowAt = offset;
    this.#windowBytes = this.#file.readSync(this.#window, offset);
    return this.#windowBytes >= count ? 0 : -1;
  }
}
