import { StoreError } from "../../src/errors.ts";

/**
 * Flatbuffers of unknown origin, looked at before a library follows them: generated readers trust every offset and
 * every count, and a count of 2^31 keeps them busy, and allocating, for minutes. What is asked for here lies within
 * the buffer, or it is refused. Source: flatbuffers.dev, "Internals"; the rules are those of its C++ verifier.
 *
 * ```
 * root     u32 to the root table
 * table    i32 back to its vtable, then fields      vtable   u16 its bytes, u16 the table's bytes, u16 a field's place …
 * vector   u32 count, then elements                 string   u32 count, bytes, NUL
 * ```
 */
export class Flatbuffer {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #budget: Budget;

  /** @param budget what all buffers of one file may have together */
  constructor(bytes: Uint8Array, budget: Budget) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#budget = budget;
  }

  root(): FlatTable {
    return this.tableAt(this.target(0));
  }

  tableAt(at: number): FlatTable {
    // Offsets may share what they lead to: without a count, a few bytes make a tree of any size.
    if (--this.#budget.tables < 0) throw broken("more tables than a schema of the largest size has");
    this.room(at, 4);
    const vtable = at - this.view.getInt32(at, true);
    this.room(vtable, 4);
    const vtableBytes = this.view.getInt16(vtable, true);
    const tableBytes = this.view.getInt16(vtable + 2, true);
    if (vtableBytes < 4 || vtableBytes % 2 !== 0 || tableBytes < 4) throw broken("a table of no size");
    this.room(vtable, vtableBytes);
    this.room(at, tableBytes);
    return new FlatTable(this, { at, vtable, vtableBytes, tableBytes });
  }

  /** Where the offset at `at` leads. */
  target(at: number): number {
    this.room(at, 4);
    const target = at + this.view.getUint32(at, true);
    this.room(target, 4);
    return target;
  }

  /** A vector's first element and count. Its bytes count against the budget, as what leads to it may come again. */
  vectorAt(at: number, elementBytes: number): { at: number; count: number } {
    const start = this.target(at);
    const count = this.view.getUint32(start, true);
    this.room(start + 4, count * elementBytes);
    this.#budget.bytes -= count * elementBytes;
    if (this.#budget.bytes < 0) throw broken("more metadata than a file of the largest size has");
    return { at: start + 4, count };
  }

  room(at: number, sizeBytes: number): void {
    if (at < 0 || at + sizeBytes > this.bytes.byteLength)
      throw broken("metadata that lead out of themselves");
  }
}

/** What is left to look at; both only fall. */
export interface Budget {
  tables: number;
  /** Of vectors and texts. */
  bytes: number;
}

interface Place {
  at: number;
  vtable: number;
  vtableBytes: number;
  tableBytes: number;
}

/** A table that lies within its buffer; slots are the fields in the order of the schema. */
export class FlatTable {
  readonly #buffer: Flatbuffer;
  readonly #place: Place;

  constructor(buffer: Flatbuffer, place: Place) {
    this.#buffer = buffer;
    this.#place = place;
  }

  byte(slot: number): number {
    const at = this.#field(slot, 1);
    return at === 0 ? 0 : this.#buffer.bytes[at]!;
  }

  /** A 64-bit integer; beyond 2^53 it is not exact, and no size is that large. */
  long(slot: number): number {
    const at = this.#field(slot, 8);
    return at === 0 ? 0 : Number(this.#buffer.view.getBigInt64(at, true));
  }

  table(slot: number): FlatTable | undefined {
    const at = this.#field(slot, 4);
    return at === 0 ? undefined : this.#buffer.tableAt(this.#buffer.target(at));
  }

  tables(slot: number): FlatTable[] {
    const at = this.#field(slot, 4);
    if (at === 0) return [];
    const vector = this.#buffer.vectorAt(at, 4);
    return Array.from({ length: vector.count }, (_, i) =>
      this.#buffer.tableAt(this.#buffer.target(vector.at + 4 * i)),
    );
  }

  /** Rows of `longs` 64-bit integers each, `stride` bytes apart. */
  structs(slot: number, stride: number, longs: readonly number[]): number[][] {
    const at = this.#field(slot, 4);
    if (at === 0) return [];
    const vector = this.#buffer.vectorAt(at, stride);
    return Array.from({ length: vector.count }, (_, i) =>
      longs.map((offset) => Number(this.#buffer.view.getBigInt64(vector.at + i * stride + offset, true))),
    );
  }

  /** Holds a text, or a vector of scalars, to the buffer. */
  check(slot: number, elementBytes = 1): void {
    const at = this.#field(slot, 4);
    if (at !== 0) this.#buffer.vectorAt(at, elementBytes);
  }

  #field(slot: number, sizeBytes: number): number {
    const { at, vtable, vtableBytes, tableBytes } = this.#place;
    const entry = 4 + 2 * slot;
    if (entry >= vtableBytes) return 0;
    const offset = this.#buffer.view.getInt16(vtable + entry, true);
    if (offset === 0) return 0;
    if (offset < 4 || offset + sizeBytes > tableBytes) throw broken("a field outside of its table");
    return at + offset;
  }
}

function broken(what: string): StoreError {
  return new StoreError("ERR_FORMAT_ARROW", `the Arrow data cannot be read: ${what}`, {
    hint: "The file is damaged, cut short, or no Arrow IPC.",
  });
}
