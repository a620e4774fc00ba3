import type { State } from "./state.ts";
import type { Entry } from "./table.ts";

const PAGE_BYTES = 256 << 10;
/** So many bytes of replaced values may lie about, and a third of all there are. */
const WASTE_BYTES_MAX = 4 << 20;
const SLICE_MS = 0.25;
/** Slots looked at between two looks at the clock. */
const SLOTS_A_LOOK = 32;

/** Some memory that values lie in. */
export interface ValuePage {
  readonly bytes: Buffer;
  /** Pages of an older one are being given up. */
  readonly generation: number;
  usedBytes: number;
  /** Of values that are current. */
  liveBytes: number;
}

/**
 * Where values stay that outlive the log records they came in: a few large pages outside the JavaScript heap, filled
 * one after another. As objects of the heap, the collector would copy each of them twice before it lets them be,
 * which for values of some hundred bytes was most of what held the event loop.
 *
 * What is replaced leaves a hole. A page of nothing but holes goes by itself, and where the oldest values are replaced
 * first that is what becomes of every page. Once holes in the others are a third of everything, all that is current moves to new pages (as in
 * a log-structured memory: Rumble, Kejriwal and Ousterhout, FAST 2014), and the old ones go with the last that still
 * reads from them.
 */
export class ValuePages {
  #page: ValuePage = { bytes: Buffer.alloc(0), generation: 0, usedBytes: 0, liveBytes: 0 };
  #generation = 1;
  #keptBytes = 0;
  #freedBytes = 0;
  #isMoving = false;

  /** Takes a copy of an entry's value, unless it has it. */
  keep(entry: Entry): void {
    if (entry.page?.generation === this.#generation) return;
    const { lengthBytes } = entry;
    let page = this.#page;
    if (page.generation !== this.#generation || page.bytes.byteLength - page.usedBytes < lengthBytes) {
      const full = page;
      const bytes = Buffer.allocUnsafeSlow(Math.max(PAGE_BYTES, lengthBytes));
      page = { bytes, generation: this.#generation, usedBytes: 0, liveBytes: 0 };
      this.#page = page;
      this.#dropIfDead(full);
    }
    entry.moveTo(page.bytes, page.usedBytes, page);
    page.usedBytes += lengthBytes;
    page.liveBytes += lengthBytes;
    this.#keptBytes += lengthBytes;
  }

  /** An entry is no longer what its key holds. */
  free({ page, lengthBytes }: Entry): void {
    if (page?.generation !== this.#generation) return;
    this.#freedBytes += lengthBytes;
    page.liveBytes -= lengthBytes;
    this.#dropIfDead(page);
  }

  /** Counts a page of holes no longer, unless it is still being filled. */
  #dropIfDead(page: ValuePage): void {
    if (page.liveBytes > 0 || page === this.#page || page.generation !== this.#generation) return;
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
    this.#generation++;
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
