import { type BlockHeader, getUint64, RECORD_HEADER_BYTES } from "./format.ts";
import type { JournalEntry, RecordVisitor } from "./journal.ts";

const JOINED_BYTES = 256 << 10;

/**
 * Puts records together again from the payloads of linked blocks, in order. A record whose rest never came (its
 * write was torn and cut off) is dropped when the next write begins.
 */
export class RecordAssembler {
  #parts: Uint8Array[] = [];
  #partBytes = 0;
  /** Whether the bytes of a record's beginning are at hand; without it a continuation is skipped. */
  #begun = false;
  #lsn = 0;
  /** The memory blocks lie in, whole, and a view of it. */
  #memory: Buffer = Buffer.alloc(0);
  #view: DataView = new DataView(this.#memory.buffer);
  /** Records that lay in more than one block. */
  #joined: Buffer = Buffer.alloc(0);
  #joinedBytes = 0;

  /**
   * The records that end in this block. Their payloads are views of `payload` where they lie in one block, so
   * they live as long as the caller keeps that memory unchanged.
   *
   * @returns `undefined` when the payload contradicts its header: damage that a checksum cannot show.
   */
  add(header: BlockHeader, payload: Uint8Array): JournalEntry[] | undefined {
    const entries: JournalEntry[] = [];
    const isSound = this.visit(header, payload, (bytes, offset, end, lsn) => {
      const copy = new Uint8Array(bytes.buffer, bytes.byteOffset + offset, end - offset);
      // The time stands right before the payload.
      entries.push({ lsn: BigInt(lsn), timeUs: bytes.readBigUInt64LE(offset - 8), payload: copy });
    });
    return isSound ? entries : undefined;
  }

  /** The same, each told to `visit`; `false` when the payload contradicts its header, after some were told. */
  visit(header: BlockHeader, payload: Uint8Array, visit: RecordVisitor): boolean {
    if (header.sequence === header.writeStart) this.#drop();
    if (header.kind !== "data") return header.recordCount === 0 || header.kind === "open";
    const { continued, recordCount } = header;
    if (this.#begun && !this.#join(payload.subarray(0, continued), visit) && continued < payload.byteLength) {
      return false;
    }
    if (payload.buffer !== this.#memory.buffer) {
      this.#memory = Buffer.from(payload.buffer);
      this.#view = new DataView(payload.buffer);
    }
    const memory = this.#memory;
    const view = this.#view;
    const blockEnd = payload.byteOffset + payload.byteLength;
    let at = payload.byteOffset + continued;
    let lsn = header.firstLsn;
    for (let index = 0; index < recordCount; index++, lsn++) {
      const start = at + RECORD_HEADER_BYTES;
      const end = start <= blockEnd ? start + view.getUint32(at, true) : start;
      if (end > blockEnd) {
        if (index !== recordCount - 1 || at === blockEnd) return false;
        this.#begin(payload.subarray(at - payload.byteOffset), lsn);
        return true;
      }
      visit(memory, start, end, lsn, getUint64(view, at + 4));
      at = end;
    }
    return at === blockEnd;
  }

  #begin(part: Uint8Array, lsn: number): void {
    this.#drop();
    this.#begun = true;
    this.#lsn = lsn;
    this.#parts = [part];
    this.#partBytes = part.byteLength;
  }

  /** Adds to the record that has begun; tells it and returns `true` once it is whole. */
  #join(part: Uint8Array, visit: RecordVisitor): boolean {
    this.#parts.push(part);
    this.#partBytes += part.byteLength;
    if (this.#partBytes < RECORD_HEADER_BYTES) return false;
    // The length may be split over two blocks, so look at it in one piece before joining everything.
    const head = this.#parts[0]!.byteLength >= 4 ? this.#parts[0]! : Buffer.concat(this.#parts);
    const wanted = RECORD_HEADER_BYTES + new DataView(head.buffer, head.byteOffset, 4).getUint32(0, true);
    if (this.#partBytes < wanted) return false;
    const start = this.#takeJoined();
    const joined = this.#joined;
    const timeUs = getUint64(new DataView(joined.buffer, joined.byteOffset), start + 4);
    visit(joined, start + RECORD_HEADER_BYTES, start + wanted, this.#lsn, timeUs);
    this.#drop();
    return true;
  }

  /** Puts the parts behind the records joined before them; returns where. */
  #takeJoined(): number {
    if (this.#joined.byteLength - this.#joinedBytes < this.#partBytes) {
      this.#joined = Buffer.allocUnsafeSlow(Math.max(JOINED_BYTES, this.#partBytes));
      this.#joinedBytes = 0;
    }
    const start = this.#joinedBytes;
    for (const part of this.#parts) {
      this.#joined.set(part, this.#joinedBytes);
      this.#joinedBytes += part.byteLength;
    }
    return start;
  }

  #drop(): void {
    this.#begun = false;
    this.#parts = [];
    this.#partBytes = 0;
  }
}
