import type { RecoveryKernel } from "../kernels/recovery-kernel.ts";
import type { ByteWriter } from "./byte-writer.ts";
import { Entry } from "./entry.ts";
import { COLUMN_ONE_VERSION } from "./snapshot-format.ts";

/** Rows that become one leaf of the table's order. */
export const LEAF_ROWS = 128;

/** A row is eight words in one line of the processor's cache: looking one up must not fetch nine. */
const ROW_WORDS = 8;
const KEY_AT = 0;
const VALUE_AT = 1;
const VALUE_BYTES = 2;
const LSN_LOW = 3;
const LSN_HIGH = 4;
/** Key bytes in the lower half, schema version in the upper. */
const KEY_BYTES_AND_VERSION = 5;
const EXPIRY_LOW = 6;
/** The uppermost byte says whether the row was taken. */
const EXPIRY_HIGH_AND_FLAGS = 7;
const TAKEN = 0x0100_0000;
const EXPIRY_MASK = 0x00ff_ffff;

/** In the hash table, the place of a key that was removed before anyone could ask for it. */
const TOMBSTONE = 0xffff_ffff;

/** Words of a map in the kernel's memory (assembly/recovery/rows.ts). */
const TABLE = { rows: 0, count: 1, index: 3, indexSize: 4, storedVersion: 7, expires: 8, words: 9 } as const;

/** What the kernel knows of a map. */
export function coldTable(kernel: RecoveryKernel, table: number) {
  const words = kernel.words(table, TABLE.words);
  return {
    count: words[TABLE.count]!,
    storedVersion: words[TABLE.storedVersion]!,
    expires: words[TABLE.expires]! !== 0,
  };
}

/**
 * The entries of one map as recovery found them, before anyone has asked for them: numbers that point into the
 * kernel's memory, where the snapshot's and the log's bytes lie, and a hash table over the keys. Opening a store makes
 * no JavaScript object per entry, because collecting a few hundred thousand of them is what would take the time.
 *
 * A row is taken once, by key or by position, and is the table's business from then on.
 */
export class ColdRows {
  readonly count: number;
  /** Rows nobody has taken yet. */
  remaining: number;
  readonly #buffer: Buffer;
  readonly #rows: Uint32Array;
  readonly #expires: boolean;
  /** Row + 1 by hash of the key, open addressing. */
  readonly #index: Uint32Array;
  /** Rows taken, by leaf. */
  readonly #takenOfLeaf: Uint8Array;

  /** @param table where the kernel has the map, whose rows are in the keys' order; its memory moves no more. */
  constructor(kernel: RecoveryKernel, table: number) {
    const words = kernel.words(table, TABLE.words);
    this.count = words[TABLE.count]!;
    this.remaining = this.count;
    this.#buffer = kernel.memory;
    this.#rows = kernel.words(words[TABLE.rows]!, this.count * ROW_WORDS);
    this.#index = kernel.words(words[TABLE.index]!, words[TABLE.indexSize]!);
    this.#expires = words[TABLE.expires]! !== 0;
    this.#takenOfLeaf = new Uint8Array(Math.ceil(this.count / LEAF_ROWS));
  }

  /** The row of a key that was not taken yet, or −1. */
  find(key: string): number {
    const { length } = key;
    let hash = length;
    for (let at = 0; at < length; at += 4) {
      let word = 0;
      for (let i = Math.min(length, at + 4) - 1; i >= at; i--) {
        const code = key.charCodeAt(i);
        if (code >= 0x80) return this.#findBytes(Buffer.from(key));
        word = (word << 8) | code;
      }
      hash = mixed(hash, word);
    }
    const mask = this.#index.length - 1;
    for (let place = spread(hash) & mask; ; place = (place + 1) & mask) {
      const number = this.#index[place]!;
      if (number === 0) return -1;
      if (number === TOMBSTONE) continue;
      const row = number - 1;
      if (this.#keyBytes(row) === length && this.#sameText(row, key)) return this.isTaken(row) ? -1 : row;
    }
  }

  #findBytes(key: Buffer): number {
    const { byteLength } = key;
    let hash = byteLength;
    for (let at = 0; at < byteLength; at += 4) {
      let word = 0;
      for (let i = Math.min(byteLength, at + 4) - 1; i >= at; i--) word = (word << 8) | key[i]!;
      hash = mixed(hash, word);
    }
    const mask = this.#index.length - 1;
    for (let place = spread(hash) & mask; ; place = (place + 1) & mask) {
      const number = this.#index[place]!;
      if (number === 0) return -1;
      if (number === TOMBSTONE) continue;
      const row = number - 1;
      const keyBytes = this.#keyBytes(row);
      const keyAt = this.#rows[row * ROW_WORDS + KEY_AT]!;
      if (keyBytes !== byteLength || key.compare(this.#buffer, keyAt, keyAt + keyBytes) !== 0) continue;
      return this.isTaken(row) ? -1 : row;
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

  /**
   * Writes the columns of whole rows as a snapshot's chunk has them, without making an object of any; `false`, and
   * nothing written, when they are more than `bytesMax` or some may expire.
   */
  writeColumns(out: ByteWriter, fromRow: number, toRow: number, bytesMax: number): boolean {
    if (this.#expires) return false;
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

  /** Keys that lie side by side are copied at once, and in a snapshot they do. */
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
    let begin = rows[fromRow * ROW_WORDS + VALUE_AT]!;
    let end = begin;
    for (let at = fromRow * ROW_WORDS; at < toRow * ROW_WORDS; at += ROW_WORDS) {
      const valueAt = rows[at + VALUE_AT]!;
      if (valueAt !== end) {
        out.copy(this.#buffer, begin, end - begin);
        begin = valueAt;
      }
      end = valueAt + rows[at + VALUE_BYTES]!;
    }
    out.copy(this.#buffer, begin, end - begin);
  }

  isTaken(row: number): boolean {
    return this.#rows[row * ROW_WORDS + EXPIRY_HIGH_AND_FLAGS]! >= TAKEN;
  }

  key(row: number): string {
    const start = this.#rows[row * ROW_WORDS + KEY_AT]!;
    return this.#buffer.toString("utf8", start, start + this.#keyBytes(row));
  }

  /** The row's entry; nobody gets it here again. */
  take(row: number): Entry {
    const entry = this.peek(row);
    this.#rows[row * ROW_WORDS + EXPIRY_HIGH_AND_FLAGS] = TAKEN;
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
    return entryOf(this.#buffer, this.#rows, row * ROW_WORDS);
  }
}

/** What a change replaced, in the row's first word (assembly/recovery/replay.ts). */
const BEFORE_ROW = 0;
const BEFORE_NOTHING = 1;
const BEFORE_NUMBER = 2;

/**
 * What replayed changes put other values over: numbers, as in the rows themselves, until the history asks for them.
 *
 * @param Rare of changes the kernel leaves to others.
 */
export class ReplacedRows<Rare> {
  readonly #buffer: Buffer;
  readonly #rows: Uint32Array;
  readonly #at: number;
  readonly #rare: ReadonlyMap<number, Rare>;

  constructor(kernel: RecoveryKernel, rare: ReadonlyMap<number, Rare>) {
    const { exports } = kernel;
    this.#buffer = kernel.memory;
    this.#at = exports.beforeRows() >>> 0;
    this.#rows = kernel.words(this.#at, exports.beforesSoFar() * ROW_WORDS);
    this.#rare = rare;
  }

  /** How many there are: one for each change. */
  get count(): number {
    return this.#rows.length / ROW_WORDS;
  }

  /** An entry, the number a sequence stood at, or `undefined`: there was nothing. */
  before(number: number): Entry | bigint | Rare | undefined {
    const at = number * ROW_WORDS;
    switch (this.#rows[at]) {
      case BEFORE_ROW: {
        const entry = entryOf(this.#buffer, this.#rows, at);
        entry.current = false;
        return entry;
      }
      case BEFORE_NUMBER:
        return this.#buffer.readBigInt64LE(this.#at + (at + VALUE_BYTES) * 4);
      case BEFORE_NOTHING:
        return undefined;
      default:
        return this.#rare.get(number);
    }
  }
}

function entryOf(buffer: Buffer, rows: Uint32Array, at: number): Entry {
  const lsn = rows[at + LSN_HIGH]! * 2 ** 32 + rows[at + LSN_LOW]!;
  const version = rows[at + KEY_BYTES_AND_VERSION]! >>> 16;
  const expiresAtUs = (rows[at + EXPIRY_HIGH_AND_FLAGS]! & EXPIRY_MASK) * 2 ** 32 + rows[at + EXPIRY_LOW]!;
  return new Entry(buffer, rows[at + VALUE_AT]!, rows[at + VALUE_BYTES]!, version, expiresAtUs, lsn);
}

/** The hash of a key, four bytes at a time, as assembly/recovery/rows.ts has it. */
function mixed(hash: number, word: number): number {
  const product = Math.imul(hash ^ word, 0x9e3779b1);
  return product ^ (product >>> 15);
}

/** The finalizer of MurmurHash3 (Appleby, public domain). */
function spread(hash: number): number {
  const half = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  const whole = Math.imul(half ^ (half >>> 13), 0xc2b2ae35);
  return whole ^ (whole >>> 16);
}
