import { type BlockHeader, RECORD_HEADER_BYTES } from "./format.ts";
import type { JournalEntry } from "./journal.ts";

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

  /**
   * The records that end in this block. Their payloads are views of `payload` where they lie in one block, so
   * they live as long as the caller keeps that memory unchanged.
   *
   * @returns `undefined` when the payload contradicts its header: damage that a checksum cannot show.
   */
  add(header: BlockHeader, payload: Uint8Array): JournalEntry[] | undefined {
    if (header.sequence === header.writeStart) this.#drop();
    if (header.kind !== "data") return header.recordCount === 0 || header.kind === "open" ? [] : undefined;
    const entries: JournalEntry[] = [];
    if (this.#begun) {
      const joined = this.#join(payload.subarray(0, header.continued));
      if (joined === undefined && header.continued < payload.byteLength) return undefined;
      if (joined !== undefined) entries.push(joined);
    }
    let at = header.continued;
    let lsn = header.firstLsn;
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    for (let index = 0; index < header.recordCount; index++, lsn++) {
      const entry = parse(view, at, lsn);
      if (entry === undefined) {
        if (index !== header.recordCount - 1 || at === payload.byteLength) return undefined;
        this.#begin(payload.subarray(at), lsn);
        return entries;
      }
      entries.push(entry);
      at += RECORD_HEADER_BYTES + entry.payload.byteLength;
    }
    return at === payload.byteLength ? entries : undefined;
  }

  #begin(part: Uint8Array, lsn: number): void {
    this.#drop();
    this.#begun = true;
    this.#lsn = lsn;
    this.#parts = [part];
    this.#partBytes = part.byteLength;
  }

  #join(part: Uint8Array): JournalEntry | undefined {
    this.#parts.push(part);
    this.#partBytes += part.byteLength;
    if (this.#partBytes < RECORD_HEADER_BYTES) return undefined;
    // The length may be split over two blocks, so look at it in one piece before joining everything.
    const head = this.#parts[0]!.byteLength >= 4 ? this.#parts[0]! : Buffer.concat(this.#parts);
    const wanted = RECORD_HEADER_BYTES + new DataView(head.buffer, head.byteOffset, 4).getUint32(0, true);
    if (this.#partBytes < wanted) return undefined;
    const whole = Buffer.concat(this.#parts);
    const entry = parse(new DataView(whole.buffer, whole.byteOffset, whole.byteLength), 0, this.#lsn);
    this.#drop();
    return entry;
  }

  #drop(): void {
    this.#begun = false;
    this.#parts = [];
    this.#partBytes = 0;
  }
}

/** The record at a place, or `undefined` when its end is not there. */
function parse(view: DataView, at: number, lsn: number): JournalEntry | undefined {
  if (view.byteLength - at < RECORD_HEADER_BYTES) return undefined;
  const start = at + RECORD_HEADER_BYTES;
  const sizeBytes = view.getUint32(at, true);
  if (sizeBytes > view.byteLength - start) return undefined;
  return {
    lsn: BigInt(lsn),
    timeUs: view.getBigUint64(at + 4, true),
    payload: new Uint8Array(view.buffer, view.byteOffset + start, sizeBytes),
  };
}
