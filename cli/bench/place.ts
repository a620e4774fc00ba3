import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { Critical, type CriticalOptions } from "../../src/critical/critical.ts";
import { allocatePages } from "../../src/disk/aligned.ts";
import { preallocateSync } from "../../src/disk/preallocate.ts";
import { realDisk } from "../../src/disk/real-disk.ts";

export const STORE_ID = new Uint8Array(16).fill(1);
/** No snapshot but those asked for. */
export const NO_SNAPSHOTS = { snapshots: { everyRecords: 1e12, everyBytes: 1e15 } };

const FLOOR_BLOCKS = 2048;
const BLOCK_BYTES = 4096;

/** The one directory in which everything that is compared lies; removed at the end. */
export class Place {
  readonly directory: string;
  readonly warnings: string[] = [];

  constructor(parent: string) {
    this.directory = mkdtempSync(join(resolve(parent), "varve-bench-"));
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  openPartition(name: string, more: Partial<CriticalOptions> = {}): Critical {
    mkdirSync(this.path(name), { recursive: true });
    return Critical.open({
      directory: this.path(name),
      disk: realDisk,
      storeId: STORE_ID,
      onWarning: (message) => this.warnings.push(message),
      ...more,
    });
  }

  /**
   * The write no durable commit can beat: one aligned block of 4,096 bytes, durable when the call returns, in a
   * file of real zeros.
   */
  openFloor(name: string): Floor {
    preallocateSync(realDisk, this.path(name), FLOOR_BLOCKS * BLOCK_BYTES);
    const file = realDisk.open(this.path(name), { access: "write", durable: true });
    const block = allocatePages(BLOCK_BYTES).fill(7);
    let next = 0;
    return {
      method: file.durability ?? "none",
      write: () => file.writeSync(block, (next++ % FLOOR_BLOCKS) * BLOCK_BYTES),
      close: () => file.close(),
    };
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export interface Floor {
  /** How its writes become durable. */
  method: string;
  write(): void;
  close(): void;
}
