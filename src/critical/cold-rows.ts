import { Entry } from "./table.ts";

const COLD = 0;
const TAKEN = 1;
const ROWS_INITIAL = 1024;

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

/**
 * The entries of one map as a snapshot holds them, before anyone has asked for them: columns of numbers that point
 * into the file's buffer, and a hash table over the keys. Opening a store makes no JavaScript object per entry,
 * because collecting a few hundred thousand of them is what would take the time.
 *
 * A row is taken once, by key or by position, and is the table's business from then on.
 */
export class ColdRows {
  /** Rows nobody has taken yet. */
  remaining = 0;
  #count = 0;
  readonly #buffer: Buffer;
  #keyAt = new Float64Array(ROWS_INITIAL);
  #keyBytes = new Uint16Array(ROWS_INITIAL);
  #valueAt = new Float64Array(ROWS_INITIAL);
  #valueBytes = new Uint32Array(ROWS_INITIAL);
  #lsn = new Float64Array(ROWS_INITIAL);
  #expiresAtUs = new Float64Array(ROWS_INITIAL);
  #schemaVersion = new Uint16Array(ROWS_INITIAL);
  #state = new Uint8Array(0);
  /** Row + 1 by hash of the key, open addressing. */
  #index = new Int32Array(0);

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  get count(): number {
    return this.#count;
  }

  /** Adds a row; its key comes after those of all rows before it. */
  add(row: RowColumns): void {
    if (this.#count === this.#keyBytes.length) this.#grow();
    const at = this.#count++;
    this.#keyAt[at] = row.keyAt;
    this.#keyBytes[at] = row.keyBytes;
    this.#valueAt[at] = row.valueAt;
    this.#valueBytes[at] = row.valueBytes;
    this.#lsn[at] = row.lsn;
    this.#expiresAtUs[at] = row.expiresAtUs;
    this.#schemaVersion[at] = row.schemaVersion;
  }

  #grow(): void {
    const length = this.#count * 2;
    const grown = <T extends Float64Array | Uint32Array | Uint16Array>(array: T, target: T): T => {
      target.set(array);
      return target;
    };
    this.#keyAt = grown(this.#keyAt, new Float64Array(length));
    this.#keyBytes = grown(this.#keyBytes, new Uint16Array(length));
    this.#valueAt = grown(this.#valueAt, new Float64Array(length));
    this.#valueBytes = grown(this.#valueBytes, new Uint32Array(length));
    this.#lsn = grown(this.#lsn, new Float64Array(length));
    this.#expiresAtUs = grown(this.#expiresAtUs, new Float64Array(length));
    this.#schemaVersion = grown(this.#schemaVersion, new Uint16Array(length));
  }

  /** Builds the hash table once every row is there. */
  finish(): void {
    const count = this.#count;
    this.remaining = count;
    this.#state = new Uint8Array(count);
    let size = 16;
    while (size < count * 2) size *= 2;
    const index = new Int32Array(size);
    const buffer = this.#buffer;
    for (let row = 0; row < count; row++) {
      const start = this.#keyAt[row]!;
      const end = start + this.#keyBytes[row]!;
      let hash = 0x811c9dc5;
      for (let at = start; at < end; at++) hash = Math.imul(hash ^ buffer[at]!, 0x01000193);
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
      if (code >= 0x80) return this.#findBytes(Buffer.from(key));
      hash = Math.imul(hash ^ code, 0x01000193);
    }
    const mask = this.#index.length - 1;
    for (let place = spread(hash) & mask; ; place = (place + 1) & mask) {
      const row = this.#index[place]! - 1;
      if (row < 0) return -1;
      if (this.#keyBytes[row] === key.length && this.#sameText(row, key))
        return this.#state[row] === COLD ? row : -1;
    }
  }

  #sameText(row: number, key: string): boolean {
    const buffer = this.#buffer;
    const start = this.#keyAt[row]!;
    for (let i = 0; i < key.length; i++) if (buffer[start + i] !== key.charCodeAt(i)) return false;
    return true;
  }

  #findBytes(key: Buffer): number {
    let hash = 0x811c9dc5;
    for (const byte of key) hash = Math.imul(hash ^ byte, 0x01000193);
    const mask = this.#index.length - 1;
    for (let place = spread(hash) & mask; ; place = (place + 1) & mask) {
      const row = this.#index[place]! - 1;
      if (row < 0) return -1;
      const start = this.#keyAt[row]!;
      if (
        this.#keyBytes[row] === key.length &&
        this.#buffer.subarray(start, start + key.length).equals(key)
      ) {
        return this.#state[row] === COLD ? row : -1;
      }
    }
  }

  isTaken(row: number): boolean {
    return this.#state[row] !== COLD;
  }

  key(row: number): string {
    const start = this.#keyAt[row]!;
    return this.#buffer.toString("utf8", start, start + this.#keyBytes[row]!);
  }

  /** The row's entry; nobody gets it here again. */
  take(row: number): Entry {
    this.#state[row] = TAKEN;
    this.remaining--;
    return new Entry(
      this.#buffer,
      this.#valueAt[row]!,
      this.#valueBytes[row]!,
      this.#schemaVersion[row]!,
      this.#expiresAtUs[row]!,
      this.#lsn[row]!,
    );
  }
}

/** FNV-1a mixes the end of a key badly; the finalizer of MurmurHash3 (Appleby, public domain) mends that. */
function spread(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
