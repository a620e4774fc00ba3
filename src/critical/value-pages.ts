import type { Change } from "./change.ts";
import type { Entry, ValuePage } from "./entry.ts";
import type { Table } from "./table.ts";

const PAGE_BYTES = 256 << 10;
/** The same for log records. */
export const RECORD_PAGE_BYTES = 1 << 20;
/** So many bytes of replaced values may lie about, and a third of all there are. */
const WASTE_BYTES_MAX = 4 << 20;
const SLICE_MS = 0.25;
/** Slots looked at between two looks at the clock. */
const SLOTS_A_LOOK = 32;

const CLOSED = { bytes: Buffer.alloc(0), usedBytes: 0, liveBytes: 0, isOpen: false, lastLsn: 0 };
/** Pages of records, all of one size, that wait to be written again. */
const SPARE_PAGES_MAX = 16;

/**
 * Where values lie: a few large pages outside the JavaScript heap, filled one after another. As objects of the heap,
 * the collector would copy each of them twice before it lets them be, which for values of some hundred bytes was most
 * of what held the event loop. A value committed now stays in the page its log record was written to; others are
 * copied into pages of values alone.
 *
 * What is replaced leaves a hole, and so does what is not a value in a record. A page of nothing but holes goes by
 * itself, and where the oldest values are replaced first that is what becomes of every page. Once holes in the others
 * are a third of everything, all that is current moves to new pages (as in a log-structured memory: Rumble, Kejriwal
 * and Ousterhout, FAST 2014), and the old ones go with the last that still reads from them.
 */
export class ValuePages {
  /** Pages of an older one are being given up. */
  generation = 1;
  /** Where values are copied to, and where records are written. */
  #page: ValuePage = { ...CLOSED, generation: 0 };
  #records: ValuePage = { ...CLOSED, generation: 0 };
  #keptBytes = 0;
  #freedBytes = 0;
  #isMoving = false;
  /** LSN of the last record that is durable. */
  #lsn = 0;
  /** Pages of records in which nothing is current, that somebody may still hold an entry of; and those that nobody does. */
  #dead: ValuePage[] = [];
  readonly #spare: ValuePage[] = [];
  #taken: ValuePage | undefined;

  /** Takes a copy of an entry's value, unless it has it. */
  keep(entry: Entry): void {
    if (entry.page?.generation === this.generation) return;
    const { lengthBytes } = entry;
    let page = this.#page;
    if (page.generation !== this.generation || page.bytes.byteLength - page.usedBytes < lengthBytes) {
      this.#close(page);
      page = this.#begin(Buffer.allocUnsafeSlow(Math.max(PAGE_BYTES, lengthBytes)));
      this.#page = page;
    }
    entry.moveTo(page.bytes, page.usedBytes, page);
    page.usedBytes += lengthBytes;
    page.liveBytes += lengthBytes;
    this.#keptBytes += lengthBytes;
  }

  /** Memory for records: that of a page in which nothing is current any more, if there is one of this size. */
  takeRecords(sizeBytes: number): Buffer {
    const spare = sizeBytes === RECORD_PAGE_BYTES ? this.#spare.pop() : undefined;
    this.#taken = spare;
    return spare === undefined ? Buffer.allocUnsafeSlow(sizeBytes) : spare.bytes;
  }

  /** From the record with this LSN on, records are written to these bytes. */
  openRecords(bytes: Buffer, lsn: number): ValuePage {
    this.#records.lastLsn = lsn;
    this.#close(this.#records);
    const taken = this.#taken;
    if (taken?.bytes === bytes) {
      taken.generation = this.generation;
      taken.isOpen = true;
      this.#records = taken;
    } else this.#records = this.#begin(bytes);
    return this.#records;
  }

  /** Nobody holds an entry that is not current: what such entries lay in may be written again. */
  release(): void {
    if (this.#dead.length === 0) return;
    for (const page of this.#dead) {
      // Some records were not durable yet when it died.
      const isDead = page.liveBytes === 0 && page.generation === this.generation;
      if (isDead && this.#spare.length < SPARE_PAGES_MAX) this.#spare.push(page);
    }
    this.#dead = [];
  }

  /** A record in the open page is durable, and its entries are about to become what their keys hold. */
  written(changes: readonly Change[], recordBytes: number, lsn: number): void {
    this.#lsn = lsn;
    let rest = recordBytes;
    for (let i = 0; i < changes.length; i++) {
      const change = changes[i]!;
      if (change.kind !== "put") continue;
      const { page, lengthBytes } = change.after!;
      if (page?.generation !== this.generation) continue;
      rest -= lengthBytes;
      page.usedBytes += lengthBytes;
      page.liveBytes += lengthBytes;
      this.#keptBytes += lengthBytes;
    }
    const page = this.#records;
    if (page.generation !== this.generation) return;
    page.usedBytes += rest;
    this.#keptBytes += rest;
    this.#freedBytes += rest;
  }

  #begin(bytes: Buffer): ValuePage {
    return { bytes, generation: this.generation, usedBytes: 0, liveBytes: 0, isOpen: true, lastLsn: 0 };
  }

  #close(page: ValuePage): void {
    page.isOpen = false;
    this.#dropIfDead(page);
  }

  /** An entry is no longer what its key holds. */
  free({ page, lengthBytes }: Entry): void {
    if (page?.generation !== this.generation) return;
    this.#freedBytes += lengthBytes;
    page.liveBytes -= lengthBytes;
    this.#dropIfDead(page);
  }

  /** Counts a page of holes no longer, unless it is still being filled. */
  #dropIfDead(page: ValuePage): void {
    if (page.liveBytes > 0 || page.isOpen || page.generation !== this.generation) return;
    this.#keptBytes -= page.usedBytes;
    this.#freedBytes -= page.usedBytes;
    page.usedBytes = 0;
    const isReusable = page.bytes.byteLength === RECORD_PAGE_BYTES && page.lastLsn <= this.#lsn;
    if (isReusable && !this.#dead.includes(page)) this.#dead.push(page);
  }

  /** Bytes in pages, holes included. */
  get sizeBytes(): number {
    return this.#keptBytes;
  }

  get isWasteful(): boolean {
    return this.#freedBytes > WASTE_BYTES_MAX && this.#freedBytes * 3 > this.#keptBytes;
  }

  /** Moves what is current to new pages, in slices of the event loop's time. */
  async move(tables: Iterable<Table>): Promise<void> {
    if (this.#isMoving) return;
    this.#isMoving = true;
    this.generation++;
    this.#keptBytes = 0;
    this.#freedBytes = 0;
    let sliceEndMs = performance.now() + SLICE_MS;
    let looked = 0;
    for (const table of tables) {
      for (const { entry } of table.slots.values()) {
        if (entry.page !== undefined) this.keep(entry);
        if (++looked % SLOTS_A_LOOK !== 0 || performance.now() < sliceEndMs) continue;
        await new Promise<void>((resolve) => setImmediate(resolve));
        sliceEndMs = performance.now() + SLICE_MS;
      }
    }
    this.#isMoving = false;
  }
}
