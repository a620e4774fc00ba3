import type { ByteWriter } from "./byte-writer.ts";
import { COLUMN_ONE_VERSION } from "./snapshot-format.ts";
import { Entry } from "./table.ts";

const ROWS_INITIAL = 1024;
/** Rows that become one leaf of the table's order. */
export const LEAF_ROWS = 128;
/** Values may lie in so many buffers. */
const BUFFERS_MAX = 0xffff;

/** Where the columns of a run of rows lie in the file's buffer. */
export interface RunColumns {
  count: number;
  /** u16 each. */
  keyLengthsAt: number;
  /** u32 each. */
  valueLengthsAt: number;
  /** u64 each. */
  lsnsAt: number;
  /** u64 each; negative: nothing expires. */
  expiriesAt: number;
  /** u16 each; negative: all have `schemaVersion`. */
  versionsAt: number;
  schemaVersion: number;
  keysAt: number;
  valuesAt: number;
}

/** A value by its place in a buffer, and what is said of it. */
export interface RowValue {
  valueAt: number;
  valueBytes: number;
  lsn: number;
  expiresAtUs: number;
  schemaVersion: number;
}

/** A row is eight words in one line of the processor's cache: looking one up must not fetch nine. */
const ROW_WORDS = 8;
const KEY_AT = 0;
const VALUE_AT = 1;
const VALUE_BYTES = 2;
const LSN_LOW = 3;
const LSN_HIGH = 4;
/** Key bytes in the lower half, schema version in the upper. */
const KEY_BYTES_AND_VERSION = 5;
/** Number of the value's buffer; `TAKEN` once the row is gone. */
const BUFFER = 6;
const TAKEN = 0xffff_ffff;

/**
 * The entries of one map as a snapshot holds them, before anyone has asked for them: numbers that point into the
 * file's buffer, and a hash table over the keys. Opening a store makes no JavaScript object per entry, because
 * collecting a few hundred thousand of them is what would take the time.
 *
 * A row is taken once, by key or by position, and is the table's business from then on.
 */
export class ColdRows {
  /** Rows nobody has taken yet. */
  remaining = 0;
  #count = 0;
  readonly #buffer: Buffer;
  readonly #view: DataView;
  /** Where values lie: the snapshot, and what was replayed over it. */
  readonly #buffers: Buffer[];
  #rows = new Uint32Array(ROWS_INITIAL * ROW_WORDS);
  /** Undefined while nothing expires. */
  #expiresAtUs: Float64Array | undefined;
  /** Row + 1 by hash of the key, open addressing. */
  #index = new Int32Array(0);
  /** Rows taken, by leaf. */
  #takenOfLeaf = new Uint8Array(0);

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
    this.#view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    this.#buffers = [buffer];
  }

  get count(): number {
    return this.#count;
  }

  /** Adds rows; their keys come in order, after those of all rows before. Returns where their values end. */
  addRun(run: RunColumns): number {
    while ((this.#count + run.count) * ROW_WORDS > this.#rows.length) this.#grow();
    const { count, keyLengthsAt, valueLengthsAt, lsnsAt, versionsAt } = run;
    const rows = this.#rows;
    const view = this.#view;
    let { keysAt: keyAt, valuesAt: valueAt, schemaVersion } = run;
    let at = this.#count * ROW_WORDS;
    for (let i = 0; i < count; i++, at += ROW_WORDS) {
      const keyBytes = view.getUint16(keyLengthsAt + i * 2, true);
      const valueBytes = view.getUint32(valueLengthsAt + i * 4, true);
      if (versionsAt >= 0) schemaVersion = view.getUint16(versionsAt + i * 2, true);
      rows[at + KEY_AT] = keyAt;
      rows[at + VALUE_AT] = valueAt;
      rows[at + VALUE_BYTES] = valueBytes;
      rows[at + LSN_LOW] = view.getUint32(lsnsAt + i * 8, true);
      rows[at + LSN_HIGH] = view.getUint32(lsnsAt + i * 8 + 4, true);
      rows[at + KEY_BYTES_AND_VERSION] = keyBytes | (schemaVersion << 16);
      keyAt += keyBytes;
      valueAt += valueBytes;
    }
    if (run.expiriesAt >= 0) this.#addExpiries(run.expiriesAt, count);
    this.#count += count;
    return valueAt;
  }

  #addExpiries(expiriesAt: number, count: number): void {
    this.#expiresAtUs ??= new Float64Array(this.#rows.length / ROW_WORDS);
    for (let i = 0; i < count; i++) {
      const low = this.#view.getUint32(expiriesAt + i * 8, true);
      const high = this.#view.getUint32(expiriesAt + i * 8 + 4, true);
      this.#expiresAtUs[this.#count + i] = high * 2 ** 32 + low;
    }
  }

  #put(row: number, value: RowValue): void {
    const at = row * ROW_WORDS;
    const rows = this.#rows;
    rows[at + VALUE_AT] = value.valueAt;
    rows[at + VALUE_BYTES] = value.valueBytes;
    rows[at + LSN_LOW] = value.lsn >>> 0;
    rows[at + LSN_HIGH] = Math.floor(value.lsn / 2 ** 32);
    const keyBytes = rows[at + KEY_BYTES_AND_VERSION]! & 0xffff;
    rows[at + KEY_BYTES_AND_VERSION] = keyBytes | (value.schemaVersion << 16);
    if (value.expiresAtUs !== 0) this.#expiresAtUs ??= new Float64Array(rows.length / ROW_WORDS);
    if (this.#expiresAtUs !== undefined) this.#expiresAtUs[row] = value.expiresAtUs;
  }

  #grow(): void {
    const rows = new Uint32Array(this.#rows.length * 2);
    rows.set(this.#rows);
    this.#rows = rows;
    if (this.#expiresAtUs === undefined) return;
    const expiresAtUs = new Float64Array(rows.length / ROW_WORDS);
    expiresAtUs.set(this.#expiresAtUs);
    this.#expiresAtUs = expiresAtUs;
  }

  /** Builds the hash table once every row is there. */
  finish(): void {
    const count = this.#count;
    this.remaining = count;
    this.#takenOfLeaf = new Uint8Array(Math.ceil(count / LEAF_ROWS));
    let size = 16;
    while (size < count * 2) size *= 2;
    const index = new Int32Array(size);
    const buffer = this.#buffer;
    const rows = this.#rows;
    for (let row = 0, at = 0; row < count; row++, at += ROW_WORDS) {
      const start = rows[at + KEY_AT]!;
      const end = start + (rows[at + KEY_BYTES_AND_VERSION]! & 0xffff);
      let hash = 0x811c9dc5;
      for (let byte = start; byte < end; byte++) hash = Math.imul(hash ^ buffer[byte]!, 0x01000193);
      let place = spread(hash) & (size - 1);
      while (index[place] !== 0) place = (place + 1) & (size - 1);
      index[place] = row + 1;
    }
    this.#index = index;
  }

  /** The row of a key that was not taken yet, or −1. */
  find(key: string): number {
    let hash = 0x811c9dc5;
    for (let i = 0; i < key.length; i++) {
      const code = key.charCodeAt(i);
      if (code >= 0x80) {
        const bytes = Buffer.from(key);
        return this.findAt(bytes, 0, bytes.byteLength);
      }
      hash = Math.imul(hash ^ code, 0x01000193);
    }
    const mask = this.#index.length - 1;
    for (let place = spread(hash) & mask; ; place = (place + 1) & mask) {
      const row = this.#index[place]! - 1;
      if (row < 0) return -1;
      if (this.#keyBytes(row) === key.length && this.#sameText(row, key)) return this.isTaken(row) ? -1 : row;
    }
  }

  /** The row of a key given as bytes that was not taken yet, or −1. */
  findAt(buffer: Buffer, start: number, sizeBytes: number): number {
    let hash = 0x811c9dc5;
    for (let at = start; at < start + sizeBytes; at++) hash = Math.imul(hash ^ buffer[at]!, 0x01000193);
    const mask = this.#index.length - 1;
    for (let place = spread(hash) & mask; ; place = (place + 1) & mask) {
      const row = this.#index[place]! - 1;
      if (row < 0) return -1;
      if (this.#keyBytes(row) !== sizeBytes) continue;
      const keyAt = this.#rows[row * ROW_WORDS + KEY_AT]!;
      let same = 0;
      while (same < sizeBytes && this.#buffer[keyAt + same] === buffer[start + same]) same++;
      if (same === sizeBytes) return this.isTaken(row) ? -1 : row;
    }
  }

  #keyBytes(row: number): number {
    return this.#rows[row * ROW_WORDS + KEY_BYTES_AND_VERSION]! & 0xffff;
  }

  #sameText(row: number, key: string): boolean {
    const buffer = this.#buffer;
    const start = this.#rows[row * ROW_WORDS + KEY_AT]!;
    for (let i = 0; i < key.length; i++) if (buffer[start + i] !== key.charCodeAt(i)) return false;
    return true;
  }

  /** Whether `replace` can take a value in `buffer`: their number is bounded. */
  takesFrom(buffer: Buffer): boolean {
    return this.#buffers.length < BUFFERS_MAX || this.#buffers.at(-1) === buffer;
  }

  /** Gives a row another value, which lies in `buffer`; notes in `replaced` what it held. */
  replace(row: number, buffer: Buffer, value: RowValue, replaced: ReplacedRows): void {
    const rows = this.#rows;
    const at = row * ROW_WORDS;
    const expiresAtUs = this.#expiresAtUs === undefined ? 0 : this.#expiresAtUs[row]!;
    replaced.add(this.#buffers[rows[at + BUFFER]!]!, rows, at, expiresAtUs);
    this.#put(row, value);
    rows[at + BUFFER] = this.#numberOf(buffer);
  }

  /** Records that lie in two blocks come from a buffer of their own, between those from the log's. */
  #numberOf(buffer: Buffer): number {
    const last = this.#buffers.length - 1;
    if (this.#buffers[last] === buffer) return last;
    if (last > 0 && this.#buffers[last - 1] === buffer) return last - 1;
    return this.#buffers.push(buffer) - 1;
  }

  /**
   * Writes the columns of whole rows as a snapshot's chunk has them, without making an object of any; `false`, and
   * nothing written, when they are more than `bytesMax` or some may expire.
   */
  writeColumns(out: ByteWriter, fromRow: number, toRow: number, bytesMax: number): boolean {
    if (this.#expiresAtUs !== undefined) return false;
    const rows = this.#rows;
    const end = toRow * ROW_WORDS;
    const first = rows[fromRow * ROW_WORDS + KEY_BYTES_AND_VERSION]! >>> 16;
    let sizeBytes = 0;
    let isOneVersion = true;
    for (let at = fromRow * ROW_WORDS; at < end; at += ROW_WORDS) {
      const keyBytesAndVersion = rows[at + KEY_BYTES_AND_VERSION]!;
      sizeBytes += rows[at + VALUE_BYTES]! + (keyBytesAndVersion & 0xffff);
      if (keyBytesAndVersion >>> 16 !== first) isOneVersion = false;
    }
    if (sizeBytes > bytesMax) return false;
    out.varint(toRow - fromRow);
    out.u8(isOneVersion ? COLUMN_ONE_VERSION : 0);
    for (let row = fromRow; row < toRow; row++) out.u16(this.#keyBytes(row));
    for (let at = fromRow * ROW_WORDS; at < end; at += ROW_WORDS) out.u32(rows[at + VALUE_BYTES]!);
    for (let at = fromRow * ROW_WORDS; at < end; at += ROW_WORDS) {
      out.u32(rows[at + LSN_LOW]!);
      out.u32(rows[at + LSN_HIGH]!);
    }
    if (isOneVersion) out.varint(first);
    else
      for (let at = fromRow * ROW_WORDS; at < end; at += ROW_WORDS)
        out.u16(rows[at + KEY_BYTES_AND_VERSION]! >>> 16);
    this.#writeKeys(out, fromRow, toRow);
    this.#writeValues(out, fromRow, toRow);
    return true;
  }

  /** Keys that lie side by side are copied at once, and they nearly always do. */
  #writeKeys(out: ByteWriter, fromRow: number, toRow: number): void {
    let begin = this.#rows[fromRow * ROW_WORDS + KEY_AT]!;
    let end = begin;
    for (let row = fromRow; row < toRow; row++) {
      const keyAt = this.#rows[row * ROW_WORDS + KEY_AT]!;
      if (keyAt !== end) {
        out.copy(this.#buffer, begin, end - begin);
        begin = keyAt;
      }
      end = keyAt + this.#keyBytes(row);
    }
    out.copy(this.#buffer, begin, end - begin);
  }

  /** So do values, but those that were replayed. */
  #writeValues(out: ByteWriter, fromRow: number, toRow: number): void {
    const rows = this.#rows;
    let number = rows[fromRow * ROW_WORDS + BUFFER]!;
    let begin = rows[fromRow * ROW_WORDS + VALUE_AT]!;
    let end = begin;
    for (let at = fromRow * ROW_WORDS; at < toRow * ROW_WORDS; at += ROW_WORDS) {
      const valueAt = rows[at + VALUE_AT]!;
      if (valueAt !== end || rows[at + BUFFER] !== number) {
        out.copy(this.#buffers[number]!, begin, end - begin);
        number = rows[at + BUFFER]!;
        begin = valueAt;
      }
      end = valueAt + rows[at + VALUE_BYTES]!;
    }
    out.copy(this.#buffers[number]!, begin, end - begin);
  }

  isTaken(row: number): boolean {
    return this.#rows[row * ROW_WORDS + BUFFER] === TAKEN;
  }

  key(row: number): string {
    const start = this.#rows[row * ROW_WORDS + KEY_AT]!;
    return this.#buffer.toString("utf8", start, start + this.#keyBytes(row));
  }

  /** The row's entry; nobody gets it here again. */
  take(row: number): Entry {
    const entry = this.#entry(row);
    this.#rows[row * ROW_WORDS + BUFFER] = TAKEN;
    this.#takenOfLeaf[Math.floor(row / LEAF_ROWS)]!++;
    this.remaining--;
    return entry;
  }

  /** Whether no row of the leaf that begins with this one was taken. */
  isWhole(fromRow: number): boolean {
    return this.#takenOfLeaf[Math.floor(fromRow / LEAF_ROWS)] === 0;
  }

  /** What a row that was not taken holds; the row stays as it is. */
  peek(row: number): Entry {
    return this.#entry(row);
  }

  #entry(row: number): Entry {
    const rows = this.#rows;
    const at = row * ROW_WORDS;
    const expiresAtUs = this.#expiresAtUs === undefined ? 0 : this.#expiresAtUs[row]!;
    return entryOf(rows, at, this.#buffers[rows[at + BUFFER]!]!, expiresAtUs);
  }
}

/**
 * What replaying put other values over: numbers, as in the rows themselves, until the history asks for an entry.
 */
export class ReplacedRows {
  #count = 0;
  readonly #buffers: Buffer[] = [];
  #rows = new Uint32Array(ROWS_INITIAL * ROW_WORDS);
  /** Undefined while nothing expires. */
  #expiresAtUs: Map<number, number> | undefined;

  /** How many there are: the number of the next one. */
  get count(): number {
    return this.#count;
  }

  add(buffer: Buffer, rows: Uint32Array, from: number, expiresAtUs: number): void {
    const at = this.#count * ROW_WORDS;
    if (at === this.#rows.length) {
      const grown = new Uint32Array(at * 2);
      grown.set(this.#rows);
      this.#rows = grown;
    }
    const own = this.#rows;
    for (let word = VALUE_AT; word <= KEY_BYTES_AND_VERSION; word++) own[at + word] = rows[from + word]!;
    const last = this.#buffers.length - 1;
    own[at + BUFFER] = this.#buffers[last] === buffer ? last : this.#buffers.push(buffer) - 1;
    if (expiresAtUs !== 0) {
      this.#expiresAtUs ??= new Map();
      this.#expiresAtUs.set(this.#count, expiresAtUs);
    }
    this.#count++;
  }

  entry(number: number): Entry {
    const rows = this.#rows;
    const at = number * ROW_WORDS;
    const entry = entryOf(rows, at, this.#buffers[rows[at + BUFFER]!]!, this.#expiresAtUs?.get(number) ?? 0);
    entry.current = false;
    return entry;
  }
}

function entryOf(rows: Uint32Array, at: number, buffer: Buffer, expiresAtUs: number): Entry {
  const lsn = rows[at + LSN_HIGH]! * 2 ** 32 + rows[at + LSN_LOW]!;
  const version = rows[at + KEY_BYTES_AND_VERSION]! >>> 16;
  return new Entry(buffer, rows[at + VALUE_AT]!, rows[at + VALUE_BYTES]!, version, expiresAtUs, lsn);
}

/** FNV-1a mixes the end of a key badly; the finalizer of MurmurHash3 (Appleby, public domain) mends that. */
function spread(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
