import type { Disk } from "../disk/disk.ts";
import { isStoreError } from "../errors.ts";
import { Histogram, type HistogramSummary } from "../histogram.ts";
import type { Journal } from "../wal/journal.ts";
import type { Committer } from "./committer.ts";
import type { History } from "./history.ts";
import type { Recovered } from "./recovery.ts";
import type { Reserve } from "./reserve.ts";
import { HEADER_BYTES, SLOT_NAMES, type SnapshotHeader } from "./snapshot-format.ts";
import { SnapshotWriter, warmUp } from "./snapshot-writer.ts";
import type { State } from "./state.ts";

export interface SnapshotOptions {
  /** A snapshot is due after so many records… Default 40,000. */
  everyRecords?: number;
  /** …or so many bytes of log, counted as written. Default 8 MiB. */
  everyBytes?: number;
  /**
   * Average rate of snapshot writing; past it snapshots wait and the log grows instead. Default 4 MiB/s, which
   * with 25 MB of state allows one every six seconds.
   */
  bytesPerSecond?: number;
}

export interface SnapshotStats {
  /** LSN of the newest whole snapshot; 0n before the first. */
  lsn: bigint;
  sizeBytes: number;
  taken: number;
  /** Bytes of all snapshots taken by this opening. */
  writtenBytes: number;
  running: boolean;
  /** Records in the log since the newest snapshot was begun: what an opening would replay. */
  logRecords: number;
  logBytes: number;
  /** Why the last attempt failed; it is tried again. */
  lastError: string | undefined;
  /** Milliseconds from begin to verified. */
  durationMs: HistogramSummary;
  /** Microseconds that the newest one's turns of the event loop took, what the collector and the scheduler took of them included. */
  slicesUs: HistogramSummary;
}

const EVERY_RECORDS = 40_000;
const EVERY_BYTES = 8 << 20;
const BYTES_PER_SECOND = 4 << 20;
const RETRY_MS = 5000;
const EXPIRED_BATCH = 256;

export interface SnapshotParts {
  disk: Disk;
  directory: string;
  state: State;
  journal: Journal;
  history: History;
  reserve: Reserve;
  committer: Committer;
  recovered: Recovered;
  onWarning: (message: string, error: unknown) => void;
}

/** Decides when to take snapshots, alternates the slots, and trims the log behind them. */
export class Snapshots {
  readonly #parts: SnapshotParts;
  readonly #everyRecords: number;
  readonly #everyBytes: number;
  readonly #bytesPerSecond: number;
  readonly #durationMs = new Histogram();
  #slicesUs = new Histogram();
  #newest: SnapshotHeader | undefined;
  #slot: 0 | 1;
  #number: number;
  #taken = 0;
  #writtenBytes = 0;
  #lastError: unknown;
  #notBeforeMs = 0;
  #makingRoom = false;
  #running: Promise<void> | undefined;
  readonly #abort = new AbortController();

  constructor(parts: SnapshotParts, options: SnapshotOptions = {}) {
    this.#parts = parts;
    this.#everyRecords = options.everyRecords ?? EVERY_RECORDS;
    this.#everyBytes = options.everyBytes ?? EVERY_BYTES;
    this.#bytesPerSecond = options.bytesPerSecond ?? BYTES_PER_SECOND;
    this.#newest = parts.recovered.snapshot;
    this.#slot = parts.recovered.slot;
    this.#number = parts.recovered.lastNumber;
  }

  /** Begins a snapshot if one is due; called after every commit. */
  consider(): void {
    const { committer } = this.#parts;
    if (committer.logRecords < this.#everyRecords && committer.logBytes < this.#everyBytes) return;
    if (this.#running !== undefined || this.#abort.signal.aborted || performance.now() < this.#notBeforeMs)
      return;
    this.take().catch(() => {
      // Kept in stats and told as a warning; the log still holds everything.
    });
  }

  /**
   * The log cannot get its next segments: two snapshots, one after the other, free nearly all it has, and it goes
   * round in those.
   */
  makeRoom(): void {
    if (this.#makingRoom || this.#abort.signal.aborted) return;
    this.#makingRoom = true;
    const done = () => {
      this.#makingRoom = false;
    };
    this.take()
      // A slot that found no space may have been given some.
      .catch(() => this.take())
      .then(() => this.take())
      .then(done, done);
  }

  /** Takes a snapshot of now; one that is running is waited for first. */
  take(): Promise<SnapshotHeader> {
    return this.alone(() => this.#take());
  }

  /** Runs something that preserves the state while no snapshot does, and keeps snapshots waiting meanwhile. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    while (this.#running !== undefined) await this.#running.catch(() => {});
    const running = work();
    const ended = running.then(
      () => {},
      () => {},
    );
    this.#running = ended;
    try {
      return await running;
    } finally {
      if (this.#running === ended) this.#running = undefined;
    }
  }

  async #take(): Promise<SnapshotHeader> {
    // In a turn of its own: the commit that made it due returns first.
    await new Promise<void>((resolve) => setImmediate(resolve));
    const { disk, directory, state, journal, history, reserve, committer, recovered, onWarning } =
      this.#parts;
    await recovered.slotsRead;
    const startMs = performance.now();
    const slot = this.#newest === undefined ? 0 : this.#slot === 0 ? 1 : 0;
    await warmUp(state);
    this.#slicesUs = new Histogram();
    const writer = new SnapshotWriter(state, ++this.#number, { slicesUs: this.#slicesUs });
    writer.keepSpace = reserve.isDiskFull;
    const { logRecords, logBytes } = committer;
    const position = history.boundary(writer.lsn);
    position.catch(() => {});
    try {
      const path = `${directory}/${SLOT_NAMES[slot]}`;
      const created = disk.stat(path) === undefined;
      const header = await writer.write(disk, path, () => position, this.#abort.signal);
      if (created) await disk.syncDirectoryAsync(directory);
      // The other slot now holds the older snapshot: the log is kept from that one on, so that either will do.
      const older = this.#newest;
      this.#newest = header;
      this.#slot = slot;
      this.#taken++;
      this.#writtenBytes += HEADER_BYTES * 2 + header.bodyBytes;
      this.#lastError = undefined;
      committer.logRecords -= logRecords;
      committer.logBytes -= logBytes;
      const tookMs = performance.now() - startMs;
      this.#durationMs.record(tookMs);
      this.#notBeforeMs = startMs + (header.bodyBytes / this.#bytesPerSecond) * 1000;
      reserve.refill(HEADER_BYTES + header.bodyBytes);
      if (older !== undefined) journal.trim(BigInt(older.lsn + 1 - state.logBase));
      await this.#expire(writer);
      return header;
    } catch (error) {
      this.#notBeforeMs = performance.now() + RETRY_MS;
      this.#lastError = error;
      // The slot that was being written holds nothing: it may take reserved space, and the next attempt finds it.
      const path = `${directory}/${SLOT_NAMES[slot]}`;
      if (isFullSlot(error, path) && reserve.give("snapshot", path, writer.bytesWritten))
        this.#notBeforeMs = 0;
      if (!this.#abort.signal.aborted)
        onWarning("a snapshot failed; the log keeps everything until one succeeds", error);
      throw error;
    } finally {
      writer.stop();
    }
  }

  /** Removes what the snapshot found expired, as commits, so that the trail knows it. */
  async #expire({ expired }: SnapshotWriter): Promise<void> {
    const { committer } = this.#parts;
    for (let start = 0; start < expired.length && !this.#abort.signal.aborted; start += EXPIRED_BATCH) {
      const batch = expired.slice(start, start + EXPIRED_BATCH);
      await committer.commitAsync(
        (tx) => {
          for (const { table, key } of batch) tx.expire(table, key);
        },
        { actor: "varve", reason: "expired" },
      );
    }
  }

  get newest(): SnapshotHeader | undefined {
    return this.#newest;
  }

  stats(): SnapshotStats {
    const { committer } = this.#parts;
    return {
      lsn: BigInt(this.#newest?.lsn ?? 0),
      sizeBytes: this.#newest?.bodyBytes ?? 0,
      taken: this.#taken,
      writtenBytes: this.#writtenBytes,
      running: this.#running !== undefined,
      logRecords: committer.logRecords,
      logBytes: committer.logBytes,
      lastError: this.#lastError === undefined ? undefined : String(this.#lastError),
      durationMs: this.#durationMs.summary(),
      slicesUs: this.#slicesUs.summary(),
    };
  }

  /** Stops what is running and lets nothing more begin. */
  async close(): Promise<void> {
    this.#abort.abort();
    await this.#running?.catch(() => {});
    await this.#parts.recovered.slotsRead;
  }
}

function isFullSlot(error: unknown, path: string): boolean {
  return isStoreError(error, "ERR_DISK_FULL") && error.context["path"] === path;
}
