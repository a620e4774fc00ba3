import { Critical, type CriticalOptions } from "../../src/critical/critical.ts";
import type { Disk } from "../../src/disk/disk.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { MemoryJournal } from "./memory-journal.ts";

export interface TestStore {
  critical: Critical;
  journal: MemoryJournal;
  disk: Disk;
  warnings: string[];
  /** What a new process finds after this one died without a word. */
  crash(options?: Partial<CriticalOptions>): TestStore;
}

/** A critical partition on a journal in memory and a simulated disk. */
export function openTestStore(options: Partial<CriticalOptions> = {}): TestStore {
  const disk = options.disk ?? new SimulatedDisk();
  const journal = (options.journal as MemoryJournal | undefined) ?? new MemoryJournal();
  const warnings: string[] = [];
  const critical = Critical.open({
    directory: "/store/critical",
    storeId: new Uint8Array(16),
    onWarning: (message, error) => warnings.push(error === undefined ? message : `${message}: ${error}`),
    ...options,
    disk,
    journal,
  });
  return {
    critical,
    journal,
    disk,
    warnings,
    crash: (more = {}) => openTestStore({ ...options, ...more, disk, journal: journal.crashed() }),
  };
}

/** Calls `trade` in every turn of the event loop until something has ended, however soon that is. */
export async function tradingUntil<T>(ended: Promise<T>, trade: () => void): Promise<T> {
  let turn = setImmediate(function next() {
    trade();
    turn = setImmediate(next);
  });
  try {
    return await ended;
  } finally {
    clearImmediate(turn);
  }
}
