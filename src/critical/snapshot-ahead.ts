import type { Disk } from "../disk/disk.ts";
import type { RecoveryKernel } from "../kernels/recovery-kernel.ts";
import { HEADER_BYTES, SLOT_NAMES, type SnapshotHeader } from "./snapshot-format.ts";
import { readSnapshotHeader } from "./snapshot-reader.ts";

/** A smaller one is read before another thread has begun to. */
const AHEAD_BYTES_MIN = 1 << 20;
/** A larger one would be too much to read to a second place, when it does not come in time. */
const AHEAD_BYTES_MAX = 512 << 20;

/**
 * Has a thread of Node.js's pool read the newest slot into the kernel's memory while this one follows the log. Most of what
 * reading costs are the pages that are touched for the first time, and those are then the other thread's.
 *
 * This thread cannot ask how far the other has come before the event loop has a turn. It need not: a chunk whose checksum
 * agrees is there, and what is not there in time is read again to another place. Nothing else ever lies in the first.
 */
export class SnapshotAhead {
  readonly kernel: RecoveryKernel;
  /** Resolves when nothing is read any more: before that, the slot must not be written. */
  ended: Promise<void> = Promise.resolve();
  readonly #disk: Disk;
  readonly #directory: string;
  #reading: { path: string; number: number; at: number } | undefined;

  constructor(kernel: RecoveryKernel, { disk, directory }: { disk: Disk; directory: string }) {
    this.kernel = kernel;
    this.#disk = disk;
    this.#directory = directory;
  }

  /** To be called when the partition is locked and nothing else takes of the kernel's memory. */
  begin(): void {
    // The simulated disk reads when the event loop has a turn: always too late.
    if (this.#disk.kind !== "real") return;
    let newest: { path: string; header: SnapshotHeader } | undefined;
    for (const name of SLOT_NAMES) {
      const path = `${this.#directory}/${name}`;
      const header = readSnapshotHeader(this.#disk, path);
      if (header !== undefined && header.number > (newest?.header.number ?? 0)) newest = { path, header };
    }
    if (newest === undefined) return;
    const { path, header } = newest;
    if (header.bodyBytes < AHEAD_BYTES_MIN || header.bodyBytes > AHEAD_BYTES_MAX) return;
    const file = this.#disk.open(path, { access: "read" });
    const sizeBytes = HEADER_BYTES + header.bodyBytes;
    if (file.sizeBytes() < sizeBytes) {
      file.close();
      return;
    }
    const at = this.kernel.take(sizeBytes);
    this.#reading = { path, number: header.number, at };
    const body = this.kernel.memory.subarray(at + HEADER_BYTES, at + sizeBytes);
    const close = () => file.close();
    // What failed: whoever needs the bytes reads them again, and finds the same.
    this.ended = file.read(body, HEADER_BYTES).then(close, close);
  }

  /** Where in the kernel's memory a slot is being read to; once. */
  take(path: string, number: number): number | undefined {
    const reading = this.#reading;
    if (reading?.path !== path || reading.number !== number) return undefined;
    this.#reading = undefined;
    return reading.at;
  }
}
