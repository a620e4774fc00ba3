import { StoreError } from "../errors.ts";
import { SERIES_BARS_MAX } from "../limits.ts";
import { bitAt, type ColumnSlice } from "./column-slice.ts";
import type { Column } from "./schema.ts";

/** One bar of prices: open and close by event time, of equal times by row. */
export interface Bar {
  /** Where the bar begins, a multiple of its length since the epoch. */
  key: bigint;
  openKey: bigint;
  closeKey: bigint;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
  count: number;
}

/** Gathers rows into bars, whatever order they come in. */
export class Bars {
  readonly #everyKeys: bigint;
  readonly #bars = new Map<bigint, Bar>();
  #last: Bar | undefined;

  constructor(everyKeys: bigint) {
    this.#everyKeys = everyKeys;
  }

  add(keys: ColumnSlice, prices: ColumnSlice, sizes: ColumnSlice | undefined): void {
    const times = keys.values as BigInt64Array;
    for (let row = 0; row < keys.rows; row++) {
      if (prices.validity !== undefined && !bitAt(prices.validity, row)) continue;
      const price = Number(prices.values[row]);
      if (Number.isNaN(price)) continue;
      const hasSize = sizes !== undefined && (sizes.validity === undefined || bitAt(sizes.validity, row));
      this.#addRow(times[row]!, price, hasSize ? Number(sizes.values[row]) : 0);
    }
  }

  /** The bars there are, in order; times without a row have none. */
  sorted(): Bar[] {
    return [...this.#bars.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  #addRow(key: bigint, price: number, size: number): void {
    const last = this.#last;
    if (last !== undefined && key >= last.closeKey && key < last.key + this.#everyKeys) {
      if (price > last.high) last.high = price;
      if (price < last.low) last.low = price;
      last.closeKey = key;
      last.close = price;
      last.volume += size;
      last.count += 1;
      return;
    }
    const remainder = key % this.#everyKeys;
    const start = key - (remainder < 0n ? remainder + this.#everyKeys : remainder);
    let bar = this.#bars.get(start);
    if (bar === undefined) {
      if (this.#bars.size >= SERIES_BARS_MAX) throw tooManyBars();
      bar = {
        key: start,
        openKey: key,
        closeKey: key,
        open: price,
        high: price,
        low: price,
        close: price,
        volume: 0,
        count: 0,
      };
      this.#bars.set(start, bar);
    }
    bar.high = Math.max(bar.high, price);
    bar.low = Math.min(bar.low, price);
    if (key < bar.openKey) {
      bar.openKey = key;
      bar.open = price;
    }
    if (key >= bar.closeKey) {
      bar.closeKey = key;
      bar.close = price;
    }
    bar.volume += size;
    bar.count += 1;
    this.#last = bar;
  }
}

/** The columns of a table of bars. */
export function barColumns(key: Column): Column[] {
  const plain = { nullable: false, listSize: 0 };
  return [
    { ...plain, name: key.name, type: key.type },
    ...["open", "high", "low", "close", "volume"].map((name) => ({ ...plain, name, type: "f64" as const })),
    { ...plain, name: "count", type: "i32" },
  ];
}

export function barSlices(columns: readonly Column[], bars: readonly Bar[]): ColumnSlice[] {
  const rows = bars.length;
  const numbers = (pick: (bar: Bar) => number) => Float64Array.from(bars, pick);
  const values = [
    BigInt64Array.from(bars, (bar) => bar.key),
    numbers((bar) => bar.open),
    numbers((bar) => bar.high),
    numbers((bar) => bar.low),
    numbers((bar) => bar.close),
    numbers((bar) => bar.volume),
    Int32Array.from(bars, (bar) => bar.count),
  ];
  return columns.map((column, index) => ({ column, rows, values: values[index]! }));
}

function tooManyBars(): StoreError {
  return new StoreError("ERR_LIMIT", `resampling gives more than ${SERIES_BARS_MAX} bars`, {
    context: { limit: SERIES_BARS_MAX },
    hint: "Ask for longer bars or a shorter range.",
  });
}
