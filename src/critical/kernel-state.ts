import { RecoveryKernel } from "../kernels/recovery-kernel.ts";
import { CRITICAL_NAMES_MAX } from "../limits.ts";
import { ColdRows, coldTable } from "./cold-rows.ts";
import type { Entry } from "./entry.ts";
import { Slot } from "./slot.ts";
import type { State } from "./state.ts";
import type { Table } from "./table.ts";

/** Numbers of maps and of sequences begin with 1. */
const NUMBERS = CRITICAL_NAMES_MAX + 1;

const SLICE_ROWS = 4096;

/** Maps whose entries lie in the kernel's memory, until recovery has ended and they are the tables' own. */
export class KernelState {
  readonly kernel: RecoveryKernel;
  readonly #tables = new Map<Table, number>();

  constructor(kernel = new RecoveryKernel()) {
    this.kernel = kernel;
    kernel.exports.beginTables(NUMBERS);
  }

  static readonly sequences = NUMBERS;

  /** Where the kernel has the map, which has its number. */
  table(table: Table): number {
    let at = this.#tables.get(table);
    if (at === undefined) {
      at = this.kernel.exports.defineTable(table.id) >>> 0;
      this.#tables.set(table, at);
    }
    return at;
  }

  /** Every entry of a map goes; returns the slots there were, in the keys' order. */
  clear(table: Table): Slot[] {
    const { kernel } = this;
    const at = this.table(table);
    kernel.exports.settleRows(at);
    const cold = new ColdRows(kernel, at);
    const rows = Array.from({ length: cold.count }, (_, row) => ({
      key: cold.key(row),
      entry: cold.peek(row),
    }));
    const slots = slotsApart(rows);
    kernel.exports.clearTable(at);
    return slots;
  }

  /** Builds the hash tables, for so many records to come. */
  index(state: State, records: number): void {
    const tables = state.tables();
    const each = Math.ceil(records / Math.max(1, tables.length));
    for (const table of tables) this.makeIndex(table, each);
  }

  /** The hash table of one map. In slices: a function that was found slow runs faster from its next call on. */
  makeIndex(table: Table, more: number): void {
    const { exports } = this.kernel;
    const at = this.table(table);
    const { count } = coldTable(this.kernel, at);
    exports.makeIndex(at, more);
    for (let row = 0; row < count; row += SLICE_ROWS) {
      exports.indexRows(at, row, Math.min(count, row + SLICE_ROWS));
    }
  }

  /** Hands all entries to the tables. Nothing may be asked of the kernel after this. */
  finish(state: State): void {
    const { kernel } = this;
    for (const at of this.#tables.values()) kernel.exports.settleRows(at);
    for (const table of state.tables()) {
      const at = this.#tables.get(table);
      if (at === undefined) continue;
      const { count, storedVersion, expires } = coldTable(kernel, at);
      table.storedVersion = Math.max(table.storedVersion, storedVersion);
      if (expires) table.expires = true;
      if (count === 0) continue;
      table.cold = new ColdRows(kernel, at);
      table.order.appendCold();
    }
    kernel.end();
  }
}

/** Slots of entries whose bytes are copied: what they lie in moves. */
function slotsApart(rows: readonly { key: string; entry: Entry }[]): Slot[] {
  const sizeBytes = rows.reduce((sum, { entry }) => sum + entry.lengthBytes, 0);
  const bytes = Buffer.allocUnsafeSlow(sizeBytes);
  let at = 0;
  return rows.map(({ key, entry }) => {
    entry.moveTo(bytes, at);
    at += entry.lengthBytes;
    entry.current = false;
    return new Slot(key, entry, 0);
  });
}
