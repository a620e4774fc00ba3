import type { State } from "./state.ts";
import type { Entry } from "./table.ts";

const PAGE_BYTES = 256 << 10;
/** So many bytes of replaced values may lie about, and a third of all there are. */
const WASTE_BYTES_MAX = 4 << 20;
const SLICE_MS = 0.25;
/** Slots looked at between two looks at the clock. */
const SLOTS_A_LOOK = 32;

/**
 * Where values stay that outlive the log records they came in: a few large pages outside the JavaScript heap, filled
 * one after another. As objects of the heap, the collector would copy each of them twice before it lets them be,
 * which for values of some hundred bytes was most of what held the event loop.
 *
 * What is replaced leaves a hole. Once holes are a third of everything, all that is current moves to new pages (as in
 * a log-structured memory: Rumble, Kejriwal and Ousterhout, FAST 2014), and the old ones go with the last that still
 * reads from them.
 */
export class ValuePages {
  #page = Buffer.alloc(0);
  #pageUsed = 0;
  /** Of the pages being filled: those of an older one are being given up. */
  #generation = 1;
  #keptBytes = 0;
  #freedBytes = 0;
  #isMoving = false;

  /** Takes a copy of an entry's value, unless it has it. */
  keep(entry: Entry): void {
    if (entry.generation === this.#generation) return;
    const { lengthBytes } = entry;
    if (this.#page.byteLength - this.#pageUsed < lengthBytes) {
      this.#page = Buffer.allocUnsafeSlow(Math.max(PAGE_BYTES, lengthBytes));
      this.#pageUsed = 0;
    }
    entry.moveTo(this.#page, this.#pageUsed, this.#generation);
    this.#pageUsed += lengthBytes;
    this.#keptBytes += lengthBytes;
  }

  /** An entry is no longer what its key holds. */
  free(entry: Entry): void {
    if (entry.generation === this.#generation) this.#freedBytes += entry.lengthBytes;
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
    this.#pageUsed = this.#page.byteLength;
    this.#keptBytes = 0;
    this.#freedBytes = 0;
    let sliceEndMs = performance.now() + SLICE_MS;
    let looked = 0;
    for (const table of state.tables()) {
      for (const { entry } of table.slots.values()) {
        if (entry.generation !== 0) this.keep(entry);
        if (++looked % SLOTS_A_LOOK !== 0 || performance.now() < sliceEndMs) continue;
        await new Promise<void>((resolve) => setImmediate(resolve));
        sliceEndMs = performance.now() + SLICE_MS;
      }
    }
    this.#isMoving = false;
  }
}
