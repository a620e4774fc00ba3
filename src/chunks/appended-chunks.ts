import type { ChunkEntry } from "./chunk-index.ts";
import { DigestTable } from "./digest-table.ts";

/**
 *     row (32 bytes) = offset f64 | pack id u64 | frame bytes u32 | raw bytes u32 | cost u16 | ordinal u8 | depth u8 | zero 4
 */
const ROW_BYTES = 32;
const ROWS_AT_FIRST = 64;

/** Chunks that a save has appended and that the index does not know yet: where each lies, in memory alone. */
export class AppendedChunks {
  readonly #digests = new DigestTable();
  #rows = new DataView(new ArrayBuffer(ROWS_AT_FIRST * ROW_BYTES));

  /** @param entry its cost is what an index entry holds: at most 65,535 */
  set(digest: Uint8Array, entry: ChunkEntry): void {
    const at = this.#digests.add(digest) * ROW_BYTES;
    if (this.#rows.byteLength < at + ROW_BYTES) this.#widen();
    this.#rows.setFloat64(at, entry.offset);
    this.#rows.setBigUint64(at + 8, entry.packId);
    this.#rows.setUint32(at + 16, entry.frameBytes);
    this.#rows.setUint32(at + 20, entry.rawBytes);
    this.#rows.setUint16(at + 24, entry.costKiB);
    this.#rows.setUint8(at + 26, entry.ordinal);
    this.#rows.setUint8(at + 27, entry.depth);
  }

  get size(): number {
    return this.#digests.size;
  }

  has(digest: Uint8Array): boolean {
    return this.#digests.has(digest);
  }

  get(digest: Uint8Array): ChunkEntry | undefined {
    const place = this.#digests.find(digest);
    return place < 0 ? undefined : this.#entryAt(place);
  }

  /** All of them, in the order in which they were appended; a digest is a view, valid until the next one. */
  *entries(): Iterable<{ digest: Uint8Array; entry: ChunkEntry }> {
    for (let place = 0; place < this.#digests.size; place++) {
      yield { digest: this.#digests.at(place), entry: this.#entryAt(place) };
    }
  }

  #entryAt(place: number): ChunkEntry {
    const at = place * ROW_BYTES;
    return {
      packId: this.#rows.getBigUint64(at + 8),
      offset: this.#rows.getFloat64(at),
      frameBytes: this.#rows.getUint32(at + 16),
      ordinal: this.#rows.getUint8(at + 26),
      depth: this.#rows.getUint8(at + 27),
      costKiB: this.#rows.getUint16(at + 24),
      rawBytes: this.#rows.getUint32(at + 20),
    };
  }

  #widen(): void {
    const wider = new Uint8Array(this.#rows.byteLength * 2);
    wider.set(new Uint8Array(this.#rows.buffer));
    this.#rows = new DataView(wider.buffer);
  }
}
