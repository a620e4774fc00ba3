import { Entry } from "./table.ts";

const ROWS_INITIAL = 1024;
/** Rows that become one leaf of the table's order. */
export const LEAF_ROWS = 128;
/** Values may lie in so many buffers. */
const BUFFERS_MAX = 0xffff;

/** One row as the snapshot reader finds it: places in the file's buffer, and the columns. */
export interface RowColumns {
  keyAt: number;
  keyBytes: number;
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
    this.#buffers = [buffer];
  }

  get count(): number {
    return this.#count;
  }

  /** Adds a row; its key comes after those of all rows before it. */
  add(row: RowColumns): void {
    if (this.#count * ROW_WORDS === this.#rows.length) this.#grow();
    const at = this.#count * ROW_WORDS;
    this.#rows[at + KEY_AT] = row.keyAt;
    this.#rows[at + KEY_BYTES_AND_VERSION] = row.keyBytes;
    this.#put(this.#count++, row);
  }

  #put(row: number, value: Omit<RowColumns, "keyAt" | "keyBytes">): void {
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

  /** Gives a row another value, which lies in `buffer`; returns the entry it replaces. */
  replace(row: number, buffer: Buffer, value: Omit<RowColumns, "keyAt" | "keyBytes">): Entry {
    const before = this.#entry(row);
    before.current = false;
    if (this.#buffers.at(-1) !== buffer) this.#buffers.push(buffer);
    this.#put(row, value);
    this.#rows[row * ROW_WORDS + BUFFER] = this.#buffers.length - 1;
    return before;
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
    return new Entry(
      this.#buffers[rows[at + BUFFER]!]!,
      rows[at + VALUE_AT]!,
      rows[at + VALUE_BYTES]!,
      rows[at + KEY_BYTES_AND_VERSION]! >>> 16,
      this.#expiresAtUs === undefined ? 0 : this.#expiresAtUs[row]!,
      rows[at + LSN_HIGH]! * 2 ** 32 + rows[at + LSN_LOW]!,
    );
  }
}

/** FNV-1a mixes the end of a key badly; the finalizer of MurmurHash3 (Appleby, public domain) mends that. */
function spread(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
