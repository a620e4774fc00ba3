import type { Change } from "./change.ts";
import type { State } from "./state.ts";
import type { Entry } from "./table.ts";

const PAGE_BYTES = 256 << 10;
/** So many bytes of replaced values may lie about, and a third of all there are. */
const WASTE_BYTES_MAX = 4 << 20;
const SLICE_MS = 0.25;
/** Slots looked at between two looks at the clock. */
const SLOTS_A_LOOK = 32;

const CLOSED = { bytes: Buffer.alloc(0), usedBytes: 0, liveBytes: 0, isOpen: false };

/** Some memory that values lie in. */
export interface ValuePage {
  readonly bytes: Buffer;
  /** Pages of an older one are being given up. */
  readonly generation: number;
  usedBytes: number;
  /** Of values that are current. */
  liveBytes: number;
  /** More will be written to it. */
  isOpen: boolean;
}

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

  /** From here on records are written to these bytes. */
  openRecords(bytes: Buffer): ValuePage {
    this.#close(this.#records);
    this.#records = this.#begin(bytes);
    return this.#records;
  }

  /** A record in the open page is durable, and its entries are about to become what their keys hold. */
  written(changes: readonly Change[], recordBytes: number): void {
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
    return { bytes, generation: this.generation, usedBytes: 0, liveBytes: 0, isOpen: true };
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
  }

  /** Bytes in pages, holes included. */
  get sizeBytes(): number {
    return this.#keptBytes;
  }

  get isWasteful(): boolean {
    return this.#freedBytes > WASTE_BYTES_MAX && this.#freedBytes * 3 > this.#keptBytes;
  }

  /** Moves what is current to new pages, in slices of the event loop's time. */
  async move(state: State): Promise<void> {
    if (this.#isMoving) return;
    this.#isMoving = true;
    this.generation++;
    this.#keptBytes = 0;
    this.#freedBytes = 0;
    let sliceEndMs = performance.now() + SLICE_MS;
    let looked = 0;
    for (const table of state.tables()) {
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
