import { crc32c } from "@node-rs/crc32";
import type { Disk, DiskFile } from "../disk/disk.ts";
import { isStoreError } from "../errors.ts";

/**
 * How fast commits are at this moment, for those who write much: kept by the process that commits, read by any.
 *
 *     timeMs f64 | recentUs f64 | usualUs f64 | CRC-32C u32
 *
 * The file is scratch: never synced, torn or stale contents are told by the checksum and the time.
 */
export interface Pulse {
  /** Wall clock of the last commit noted. */
  timeMs: number;
  /** What the last few commits took. */
  recentUs: number;
  /** What commits take when nothing disturbs them. */
  usualUs: number;
}

const PULSE_BYTES = 28;
/** A write into the page cache takes microseconds; at this rate it costs a commit nothing one could measure. */
const WRITE_EVERY_MS = 5;
const READ_EVERY_MS = 5;
/** The last five commits count most. */
const RECENT = 0.2;
/** Down at once nearly, up slowly: the usual is what the disk does when it is left alone. */
const USUAL_DOWN = 0.1;
const USUAL_UP = 0.001;

export class CommitPulse {
  readonly #disk: Disk;
  readonly #path: string;
  readonly #nowMs: () => number;
  #own: Pulse | undefined;
  #seen: Pulse | undefined;
  #file: DiskFile | undefined;
  #writtenMs = 0;
  #readMs = 0;

  constructor(disk: Disk, path: string, nowMs: () => number = Date.now) {
    this.#disk = disk;
    this.#path = path;
    this.#nowMs = nowMs;
  }

  /** A commit's write took so long. Best effort: whatever hinders it, the commit stands. */
  note(us: number): void {
    const timeMs = this.#nowMs();
    const { recentUs, usualUs } = this.#own ?? { recentUs: us, usualUs: us };
    this.#own = {
      timeMs,
      recentUs: recentUs + RECENT * (us - recentUs),
      usualUs: usualUs + (us < usualUs ? USUAL_DOWN : USUAL_UP) * (us - usualUs),
    };
    if (isNear(this.#writtenMs, timeMs, WRITE_EVERY_MS - 1) || this.#disk.kind !== "real") return;
    this.#writtenMs = timeMs;
    try {
      this.#file ??= this.#disk.open(this.#path, { access: "write", create: "may" });
      this.#file.writeSync(encodePulse(this.#own), 0);
    } catch (error) {
      if (!isStoreError(error)) throw error;
    }
  }

  /** How many times longer than usual commits take now; 0 when none were made in the last `withinMs`. */
  slowdown(withinMs: number): number {
    const now = this.#nowMs();
    const isFresh = (pulse: Pulse | undefined) => pulse !== undefined && isNear(pulse.timeMs, now, withinMs);
    // One process commits at a time, but it may have been this one before.
    const pulse = isFresh(this.#own) ? this.#own : this.#read(now);
    if (pulse === undefined || !isFresh(pulse)) return 0;
    return pulse.recentUs / Math.max(1, pulse.usualUs);
  }

  #read(now: number): Pulse | undefined {
    if (isNear(this.#readMs, now, READ_EVERY_MS - 1) || this.#disk.kind !== "real") return this.#seen;
    this.#readMs = now;
    try {
      if (this.#disk.stat(this.#path)?.isFile !== true) return undefined;
      const file = this.#disk.open(this.#path, { access: "read" });
      const bytes = Buffer.alloc(PULSE_BYTES);
      const count = file.readSync(bytes, 0);
      file.close();
      this.#seen = count === PULSE_BYTES ? (decodePulse(bytes) ?? this.#seen) : this.#seen;
    } catch (error) {
      if (!isStoreError(error)) throw error;
    }
    return this.#seen;
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }
}

/** Whether two times of the wall clock, which may have been set back in between, are at most so far apart. */
function isNear(a: number, b: number, withinMs: number): boolean {
  return Math.abs(a - b) <= withinMs;
}

export function encodePulse({ timeMs, recentUs, usualUs }: Pulse): Buffer {
  const bytes = Buffer.alloc(PULSE_BYTES);
  bytes.writeDoubleLE(timeMs, 0);
  bytes.writeDoubleLE(recentUs, 8);
  bytes.writeDoubleLE(usualUs, 16);
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, 24)), 24);
  return bytes;
}

export function decodePulse(bytes: Buffer): Pulse | undefined {
  if (crc32c(bytes.subarray(0, 24)) !== bytes.readUInt32LE(24)) return undefined;
  return { timeMs: bytes.readDoubleLE(0), recentUs: bytes.readDoubleLE(8), usualUs: bytes.readDoubleLE(16) };
}
