import { setTimeout as delay } from "node:timers/promises";
import type { Disk, DiskFile, DurableWrite, FileStat, OpenOptions } from "../disk/disk.ts";
import { LatencyHistogram, type LatencySummary } from "../histogram.ts";
import type { CommitPulse } from "./commit-pulse.ts";
import { MeasuredFile, type Watch } from "./measured-file.ts";
import { checkedStripeBytes } from "./stripes.ts";

/** What a store's writes are for, by the directory they go to. */
export type IoCause = "packs" | "spool" | "images" | "versions" | "critical" | "series" | "other";

export interface IoCauseStats {
  writtenBytes: number;
  writes: LatencySummary;
  syncs: LatencySummary;
}

interface Counts {
  writtenBytes: number;
  writes: LatencyHistogram;
  syncs: LatencyHistogram;
}

/** Bulk writes are made durable in slices of this while commits are going on: a commit waits for at most one. */
const SLICE_BYTES = 8 << 20;
/** And of this while nobody commits: bounds what is dirty in the page cache. */
const QUIET_SLICE_BYTES = 64 << 20;
/** Commits count as going on for this long after the last one. */
const COMMITTING_MS = 2000;
/** Bulk writers wait while commits take more than this many times what they usually do, */
const SLOWDOWN_MAX = 1.5;
/** a little at a time, */
const WAIT_MS = 10;
/** and no longer than this a slice: a save is delayed by commits, not stopped. */
const WAIT_MS_MAX = 250;

/**
 * A disk that counts what is written for what and how long it takes, and lets commits go first: files of packs and
 * images are written back a slice at a time, with a pause while commits are slower than usual.
 */
export class MeasuredDisk implements Disk {
  readonly kind: string;
  /** How long bulk writers have waited for commits. */
  waitedMs = 0;
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #pulse: CommitPulse;
  readonly #stripeBytes: number | undefined;
  readonly #counts = new Map<IoCause, Counts>();

  /** @throws `ERR_LIMIT`, `ERR_INVALID_ARGUMENT` for stripes that no device has */
  constructor(
    disk: Disk,
    directory: string,
    pulse: CommitPulse,
    { stripeBytes }: { stripeBytes?: number | undefined } = {},
  ) {
    this.kind = disk.kind;
    this.#disk = disk;
    this.#directory = `${directory}/`;
    this.#pulse = pulse;
    this.#stripeBytes = checkedStripeBytes(stripeBytes);
  }

  open(path: string, options: OpenOptions): DiskFile {
    const file = this.#disk.open(path, options);
    if (options.access === "read") return file;
    const cause = this.#causeOf(path);
    const counts = this.#countsOf(cause);
    const bulk = cause === "packs" || cause === "images";
    const watch: Watch = {
      onWrite: (sizeBytes, us) => {
        countWrite(counts, sizeBytes, us);
        if (file.durability !== undefined && us !== undefined) this.#pulse.note(us);
      },
      onSync: (us) => counts.syncs.record(us),
      sliceBytes: () => (bulk ? this.#sliceBytes() : Number.POSITIVE_INFINITY),
      betweenSlices: () => this.#letCommitsPass(),
      committing: () => this.#committing(),
    };
    return new MeasuredFile(file, watch, bulk ? this.#stripeBytes : undefined);
  }

  /** Commits in groups are written by the log worker; those who write much give way to them all the same. */
  noteDurableWrite({ path, sizeBytes, us }: DurableWrite): void {
    countWrite(this.#countsOf(this.#causeOf(path)), sizeBytes, us);
    this.#pulse.note(us);
  }

  #sliceBytes(): number {
    return this.#committing() ? SLICE_BYTES : QUIET_SLICE_BYTES;
  }

  #committing(): boolean {
    return this.#pulse.slowdown(COMMITTING_MS) > 0;
  }

  async #letCommitsPass(): Promise<void> {
    const start = performance.now();
    while (this.#pulse.slowdown(COMMITTING_MS) > SLOWDOWN_MAX && performance.now() - start < WAIT_MS_MAX) {
      await delay(WAIT_MS);
    }
    this.waitedMs += performance.now() - start;
  }

  #causeOf(path: string): IoCause {
    if (!path.startsWith(this.#directory)) return "other";
    const inside = path.slice(this.#directory.length);
    if (inside.startsWith("chunks/packs/")) return "packs";
    const first = inside.slice(0, inside.indexOf("/"));
    return CAUSES.has(first) ? (first as IoCause) : "other";
  }

  #countsOf(cause: IoCause): Counts {
    let counts = this.#counts.get(cause);
    if (counts === undefined) {
      counts = { writtenBytes: 0, writes: new LatencyHistogram(), syncs: new LatencyHistogram() };
      this.#counts.set(cause, counts);
    }
    return counts;
  }

  /** What was written through this disk so far, by cause. */
  byCause(): Partial<Record<IoCause, IoCauseStats>> {
    const entries = [...this.#counts].map(([cause, { writtenBytes, writes, syncs }]) => {
      return [cause, { writtenBytes, writes: writes.summary(), syncs: syncs.summary() }] as const;
    });
    return Object.fromEntries(entries.filter(([, { writtenBytes }]) => writtenBytes > 0));
  }

  stat(path: string): FileStat | undefined {
    return this.#disk.stat(path);
  }
  list(directory: string): string[] {
    return this.#disk.list(directory);
  }
  makeDirectory(path: string): void {
    this.#disk.makeDirectory(path);
  }
  rename(from: string, to: string): void {
    this.#disk.rename(from, to);
  }
  remove(path: string): void {
    this.#disk.remove(path);
  }
  syncDirectory(path: string): void {
    this.#disk.syncDirectory(path);
  }
  syncDirectoryAsync(path: string): Promise<void> {
    return this.#disk.syncDirectoryAsync(path);
  }
  freeBytes(path: string): number | undefined {
    return this.#disk.freeBytes(path);
  }
}

function countWrite(counts: Counts, sizeBytes: number, us: number | undefined): void {
  counts.writtenBytes += sizeBytes;
  if (us !== undefined) counts.writes.record(us);
}

const CAUSES: ReadonlySet<string> = new Set(["spool", "images", "versions", "critical", "series"]);
