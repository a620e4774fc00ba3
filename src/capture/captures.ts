import { inspect } from "node:util";
import type { Disk } from "../disk/disk.ts";
import { isStoreError, StoreError } from "../errors.ts";
import {
  CAPTURES_MAX,
  CHUNK_BYTES_MAX,
  JOB_BYTES,
  SPOOL_BYTES,
  STAGING_BYTES,
  STAGING_BYTES_MAX,
} from "../limits.ts";
import type { WorkerPool } from "../workers/pool.ts";
import { Capture } from "./capture.ts";
import type { CapturePlan } from "./capture-plan.ts";
import { removeSpoolJob } from "./remove-spool.job.ts";
import { type KeptSpool, SpoolFiles } from "./spool-files.ts";
import { StagingPool } from "./staging-pool.ts";
import { warmSpoolJob } from "./warm-spool.job.ts";

export interface CapturesOptions {
  disk: Disk;
  pool: WorkerPool;
  /** Where spool files go. */
  directory: string;
  stagingBytes?: number | undefined;
  spoolBytes?: number | undefined;
}

export interface CaptureStats {
  /** Memory that captured bytes may take. */
  stagingBytes: number;
  /** Of it, what is free at this moment. */
  stagingFreeBytes: number;
  /** Captured bytes that are not stored yet, in staging and spool together, and how many there may be before saves wait. */
  heldBytes: number;
  limitBytes: number;
  captures: number;
  capturedBytes: number;
  /** Of those, what went through the spool: written to the device as well, unless it was used up before. */
  spooledBytes: number;
  /** Saves that waited for room, and how long all of them together. */
  waits: number;
  waitedMs: number;
  /** Saves that `onPressure: "skip"` left out. */
  skips: number;
}

const SLOT_BYTES = Math.max(JOB_BYTES, CHUNK_BYTES_MAX);

/**
 * Admits captures while there is room for what they hold until it is stored: staging memory and spool together, and
 * so many at a time. One is always admitted, however large.
 */
export class Captures {
  readonly #options: CapturesOptions;
  readonly #staging: StagingPool;
  readonly #spools: SpoolFiles;
  readonly #limitBytes: number;
  readonly #keptBytesMax: number;
  readonly #queue: (() => void)[] = [];
  #heldBytes = 0;
  #held = 0;
  #counts = { captures: 0, capturedBytes: 0, spooledBytes: 0, waits: 0, waitedMs: 0, skips: 0 };

  constructor(options: CapturesOptions) {
    const { stagingBytes = STAGING_BYTES, spoolBytes = SPOOL_BYTES } = options;
    requireBytes("stagingBytes", stagingBytes, SLOT_BYTES, STAGING_BYTES_MAX);
    requireBytes("spoolBytes", spoolBytes, 0, Number.MAX_SAFE_INTEGER);
    this.#options = options;
    this.#staging = new StagingPool(stagingBytes, SLOT_BYTES);
    this.#spools = new SpoolFiles(options.disk, options.directory);
    this.#limitBytes = stagingBytes + spoolBytes;
    this.#keptBytesMax = spoolBytes;
  }

  /** Whether a capture of so many bytes could begin now. */
  hasRoom(sizeBytes: number): boolean {
    if (this.#held === 0) return true;
    return (
      this.#queue.length === 0 && this.#held < CAPTURES_MAX && this.#heldBytes + sizeBytes <= this.#limitBytes
    );
  }

  /** Takes room for a capture at once; there must be some. Give it back with `leave`. */
  enter(sizeBytes: number): void {
    this.#held += 1;
    this.#heldBytes += sizeBytes;
  }

  /** Takes room when there is some, in the order asked for. Gives up when `signal` says so. */
  async enterLater(sizeBytes: number, signal: AbortSignal | undefined): Promise<void> {
    const start = performance.now();
    this.#counts.waits += 1;
    await new Promise<void>((resolve, reject) => {
      const giveUp = () => {
        const at = this.#queue.indexOf(go);
        if (at >= 0) this.#queue.splice(at, 1);
        reject(aborted(signal));
        this.#admit();
      };
      const go = () => {
        signal?.removeEventListener("abort", giveUp);
        resolve();
      };
      this.#queue.push(go);
      if (signal?.aborted) giveUp();
      else signal?.addEventListener("abort", giveUp, { once: true });
      this.#sizes.set(go, sizeBytes);
      this.#admit();
    });
    this.#counts.waitedMs += performance.now() - start;
  }

  leave(sizeBytes: number): void {
    this.#held -= 1;
    this.#heldBytes -= sizeBytes;
    this.#admit();
  }

  /**
   * Begins to capture what room was taken for.
   *
   * @param before what the save before kept of the same tensors: the capture may have to take its place
   */
  begin(plan: CapturePlan, before?: KeptSpool): Capture {
    const { disk, pool } = this.#options;
    const capture = Capture.begin({ plan, pool, disk, staging: this.#staging, spools: this.#spools, before });
    this.note(plan.sizeBytes);
    this.#counts.spooledBytes += capture.spooledBytes;
    return capture;
  }

  /**
   * Keeps the spool of a capture that is stored now, for the next save of the same tensors. What is kept may take as
   * much as what waits; past that the oldest goes.
   */
  keep(capture: Capture): KeptSpool | undefined {
    const kept = capture.keepSpool();
    while (this.#spools.keptBytes > this.#keptBytesMax) this.#spools.dropOldest(kept);
    if (kept !== undefined && kept.sizeBytes <= this.#keptBytesMax) this.#prepare(kept.sizeBytes);
    return kept;
  }

  /** Makes the scratch file of the next save of so many bytes, while nobody waits for it. */
  #prepare(sizeBytes: number): void {
    const { pool } = this.#options;
    if (pool.inline) return;
    try {
      this.#spools.prepare(sizeBytes, (path, warming) => {
        return pool.runAside(warmSpoolJob, { path, sizeBytes, warming });
      });
    } catch (error) {
      // The next capture tries again, and says what is wrong.
      if (!isStoreError(error)) throw error;
    }
  }

  /** Gives up what `keep` returned. */
  drop(kept: KeptSpool): void {
    this.#spools.drop(kept);
  }

  /** The same where no save will need it again: its file goes. */
  discard(kept: KeptSpool): void {
    const { pool, disk } = this.#options;
    this.#spools.discard(kept, (path) => {
      return pool.run(removeSpoolJob, pool.inline ? { path, disk } : { path });
    });
  }

  /** Counts a capture. */
  note(sizeBytes: number): void {
    this.#counts.captures += 1;
    this.#counts.capturedBytes += sizeBytes;
  }

  readonly #sizes = new WeakMap<() => void, number>();

  #admit(): void {
    for (;;) {
      const next = this.#queue[0];
      if (next === undefined) return;
      const sizeBytes = this.#sizes.get(next)!;
      if (this.#held > 0 && (this.#held >= CAPTURES_MAX || this.#heldBytes + sizeBytes > this.#limitBytes)) {
        return;
      }
      this.#queue.shift();
      this.enter(sizeBytes);
      next();
    }
  }

  noteSkip(): void {
    this.#counts.skips += 1;
  }

  stats(): CaptureStats {
    const { slots, slotBytes, freeSlots } = this.#staging;
    return {
      stagingBytes: slots * slotBytes,
      stagingFreeBytes: freeSlots * slotBytes,
      heldBytes: this.#heldBytes,
      limitBytes: this.#limitBytes,
      ...this.#counts,
      waitedMs: Math.round(this.#counts.waitedMs),
    };
  }

  /** Removes scratch files that killed processes left behind. */
  sweep(): void {
    this.#spools.sweep();
  }

  close(): void {
    this.#spools.close();
  }
}

function aborted(signal: AbortSignal | undefined): StoreError {
  return new StoreError("ERR_ABORTED", "aborted while the save waited for room to capture its tensors", {
    cause: signal?.reason,
  });
}

function requireBytes(name: string, value: number, least: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return;
  throw new StoreError("ERR_LIMIT", `${name} is ${inspect(value)}; it may be ${least} to ${most}`, {
    context: { [name]: value, least, most },
  });
}
