import { isStoreError, StoreError } from "../errors.ts";
import type { HistogramSummary } from "../histogram.ts";
import { RecoveryKernel } from "../kernels/recovery-kernel.ts";
import { LogFollower } from "../wal/follow-log.ts";
import type { Journal } from "../wal/journal.ts";
import { WriteAheadLog } from "../wal/log.ts";
import { openLog } from "../wal/open-log.ts";
import { type AuditQuery, type AuditReport, verifyAudit } from "./audit.ts";
import { type AuditEntry, auditLog, type LogQuery } from "./audit-log.ts";
import { type BackupOptions, type BackupResult, backupCritical } from "./backup.ts";
import type { Annotations } from "./change.ts";
import { type Clock, createClock } from "./clock.ts";
import type { CommitOptions } from "./commit-options.ts";
import { Committer, type Followers, type Receipt } from "./committer.ts";
import { adoptMoved, adoptSequence, recognizeCopy, showFence } from "./fencing.ts";
import { History } from "./history.ts";
import { KernelState } from "./kernel-state.ts";
import { CriticalMap } from "./map.ts";
import { type MigrationPlan, planMigration, Upgrades } from "./migration.ts";
import type { CriticalOptions, CriticalStats, RecoveryStats } from "./options.ts";
import { Followed, loadSnapshot, replay, replayJournal, replayRead, scanOf } from "./recovery.ts";
import { Reserve } from "./reserve.ts";
import { type MapOptions, MapSchema } from "./schema.ts";
import type { SequenceOptions } from "./sequence.ts";
import { CriticalSequence } from "./sequence-handle.ts";
import { SnapshotAhead } from "./snapshot-ahead.ts";
import { Snapshots } from "./snapshots.ts";
import { EngineSocket } from "./socket.ts";
import { State } from "./state.ts";
import type { Table } from "./table.ts";
import { Trail } from "./trail.ts";
import type { Transaction } from "./transaction.ts";
import { verbsOf } from "./verbs.ts";
import type { Witness } from "./witness.ts";

export type { CommitOptions } from "./commit-options.ts";
export type { Receipt } from "./committer.ts";
export type { CriticalOptions, CriticalStats, RecoveryStats } from "./options.ts";

/** The critical partition: maps, sequences and counters under transactions that are durable on return. */
export class Critical {
  readonly readOnly: boolean;
  readonly #options: CriticalOptions;
  readonly #state: State;
  readonly #clock: Clock;
  readonly #history: History;
  readonly #trail: Trail;
  readonly #committer: Committer | undefined;
  readonly #snapshots: Snapshots | undefined;
  readonly #reserve: Reserve | undefined;
  readonly #maps = new Map<string, CriticalMap<unknown>>();
  readonly #sequences = new Map<string, CriticalSequence>();
  readonly #upgrades: Upgrades | undefined;
  #recovery: RecoveryStats;
  #journal: Journal | undefined;
  #witness: Witness | undefined;
  #socket: EngineSocket | undefined;
  /** A reader's place in the log, and what it has followed since it loaded a snapshot. */
  #follower: LogFollower | undefined;
  #followed = new Followed();
  /** What a reader has is not whole, or too much. */
  #mustLoad = false;
  #closed = false;

  private constructor(options: CriticalOptions, journal: Journal | undefined, ahead: SnapshotAhead) {
    this.#options = options;
    this.readOnly = options.readOnly === true;
    this.#clock = options.clock ?? createClock();
    this.#state = new State(options.idempotency);
    const place = { disk: options.disk, directory: `${options.directory}/history`, state: this.#state };
    this.#history = new History(place, options.history);
    this.#trail = new Trail(this.#history, this.#state);
    if (journal === undefined) {
      this.#recovery = this.#loadForReading(ahead.kernel);
      showFence(this.#state, options);
      return;
    }
    const { disk, directory } = options;
    this.#journal = journal;
    disk.makeDirectory(directory);
    const recovered = this.#load(journal, ahead);
    this.#recovery = recovered.stats;
    const committer = new Committer(this.#state, journal, this.#clock, this.#followers);
    this.#committer = committer;
    this.#upgrades = new Upgrades(committer, () => this.#closed, this.#warn);
    this.#history.catchUp = () => committer.keepLate();
    this.#committer.logRecords = recovered.stats.replayedRecords;
    const reserveBytes = options.reserveBytes ?? (disk.kind === "real" ? RESERVE_BYTES : 0);
    this.#reserve = new Reserve({ disk, directory }, reserveBytes, this.#warn);
    this.#history.reserve = this.#reserve;
    this.#snapshots = new Snapshots(
      {
        disk,
        directory,
        state: this.#state,
        journal,
        history: this.#history,
        reserve: this.#reserve,
        committer: this.#committer,
        recovered: recovered.found,
        onWarning: this.#warn,
      },
      options.snapshots,
    );
    this.#witness = recognizeCopy(this.#committer, this.#state, options);
    if (options.socket ?? disk.kind === "real") this.#listen();
  }

  /**
   * Loads the newest snapshot and replays the log behind it.
   *
   * @throws ERR_STORE_CORRUPT when acknowledged data is missing or does not read, ERR_STORE_VERSION for files of a
   *   later varve
   */
  static open(options: CriticalOptions): Critical {
    const ahead = new SnapshotAhead(new RecoveryKernel(), options);
    if (options.readOnly === true) return new Critical(options, undefined, ahead);
    let critical: Critical | undefined;
    const onWarning = (warning: StoreError) => {
      const isFull = warning.code === "ERR_DISK_FULL";
      options.onWarning?.(isFull ? DISK_FULL : warning.message, warning);
      if (isFull) critical?.makeRoom();
    };
    const log = { ...options.log, ...logPlace(options), kernel: ahead.kernel, onWarning };
    const journal = options.journal ?? openLog({ ...log, onLocked: () => ahead.begin() });
    try {
      critical = new Critical(options, journal, ahead);
      return critical;
    } catch (error) {
      // The lock goes with it. Why the opening failed says more than what closing may add.
      journal.close().catch(() => {});
      throw error;
    }
  }

  /** Without its socket the engine still runs; the command line then has to wait for it. */
  #listen(): void {
    const failed = (error: unknown) => this.#warn("the engine's socket could not be opened", error);
    this.#socket = EngineSocket.open(this.#options, verbsOf(this), failed);
  }

  /** What a reader starts with: the newest snapshot, and the log as far as it is known durable. */
  #loadForReading(kernel: RecoveryKernel): RecoveryStats {
    for (let look = 1; ; look++) {
      try {
        return this.#loadOnce(look === 1 ? kernel : new RecoveryKernel());
      } catch (error) {
        // A writer may take two snapshots meanwhile, and trim the log behind them.
        if (look === LOADS || !isStoreError(error, "ERR_NOT_FOUND")) throw error;
      }
    }
  }

  #loadOnce(kernel: RecoveryKernel): RecoveryStats {
    const { disk, directory } = this.#options;
    const startMs = performance.now();
    this.#mustLoad = true;
    this.#state.reset();
    const found = loadSnapshot(disk, directory, this.#state, () => new KernelState(kernel));
    const snapshotLsn = this.#state.lsn;
    const loadedMs = performance.now();
    this.#history.open(found.history, snapshotLsn, false);
    const fromLsn = BigInt(snapshotLsn + 1 - this.#state.logBase);
    this.#follower = new LogFollower({ ...logPlace(this.#options), fromLsn });
    const entries = this.#follower.refresh();
    const replayedRecords = replayRead(entries.length, scanOf(entries), found, this.#state, this.#history);
    this.#mustLoad = false;
    this.#followed = new Followed();
    return {
      snapshotMs: loadedMs - startMs,
      replayMs: performance.now() - loadedMs,
      snapshotLsn: BigInt(snapshotLsn),
      replayedRecords,
      damaged: found.damaged,
    };
  }

  /**
   * Brings a read-only opening up to date; returns the LSN it shows now. Beside a living writer that is what the
   * log says is durable, which its last write may be ahead of by up to a second.
   */
  refresh(): bigint {
    this.#checkOpen();
    if (this.#follower === undefined) return this.lsn;
    try {
      if (!this.#mustLoad) {
        const entries = this.#follower.refresh();
        replay(scanOf(entries), this.#state, this.#history);
        this.#mustLoad = this.#followed.add(entries);
      }
    } catch (error) {
      if (!isStoreError(error, "ERR_NOT_FOUND")) throw error;
      // The log was trimmed behind a newer snapshot.
      this.#mustLoad = true;
    }
    if (this.#mustLoad) this.#recovery = this.#loadForReading(new RecoveryKernel());
    return this.lsn;
  }

  #load(journal: Journal, ahead: SnapshotAhead) {
    const { disk, directory } = this.#options;
    const startMs = performance.now();
    const found = loadSnapshot(disk, directory, this.#state, () => new KernelState(ahead.kernel), ahead);
    const snapshotLsn = this.#state.lsn;
    const loadedMs = performance.now();
    const problem = this.#history.open(found.history, snapshotLsn, !this.readOnly);
    if (problem !== undefined) this.#warn(`the history is damaged: ${problem}`, undefined);
    for (const path of found.damaged)
      this.#warn(`snapshot ${path} is damaged, an older one is used`, undefined);
    const replayed = replayJournal(journal, this.#state, found, this.#history);
    const stats: RecoveryStats = {
      snapshotMs: loadedMs - startMs,
      replayMs: performance.now() - loadedMs,
      snapshotLsn: BigInt(snapshotLsn),
      replayedRecords: replayed,
      damaged: found.damaged,
    };
    return { found, stats };
  }

  /** LSN of the last durable commit; 0n before the first. */
  get lsn(): bigint {
    return BigInt(this.#state.lsn);
  }

  /** A typed map; the same name always gives the same data. @throws ERR_STORE_VERSION */
  map<V = unknown>(name: string, options?: MapOptions<V>): CriticalMap<V> {
    this.#checkOpen();
    let map = this.#maps.get(name);
    if (map === undefined) {
      map = new CriticalMap<unknown>(this.#state.table(name), this.#trail, this);
      this.#maps.set(name, map);
    }
    if (options !== undefined) this.#useSchema(map.table, new MapSchema(name, options as MapOptions<never>));
    return map as CriticalMap<V>;
  }

  /** @internal A map for reading only; one that is not there is not made. */
  peek(name: string): CriticalMap<unknown> {
    return this.#maps.get(name) ?? new CriticalMap<unknown>(this.#state.findTable(name), this.#trail, this);
  }

  #useSchema(table: Table, schema: MapSchema): void {
    schema.checkAgainst(table.storedVersion);
    if (table.schema !== undefined && table.schema.version !== schema.version) {
      throw new StoreError(
        "ERR_INVALID_ARGUMENT",
        `map ${table.name} is open with version ${table.schema.version} already`,
        { context: { map: table.name, version: schema.version, openVersion: table.schema.version } },
      );
    }
    if (table.schema === undefined && schema.version > 1) table.forgetDecoded();
    table.schema = schema;
    if (schema.version > 1) this.#upgrades?.begin(table);
  }

  sequence(name: string, options?: SequenceOptions): CriticalSequence {
    this.#checkOpen();
    let sequence = this.#sequences.get(name);
    if (sequence === undefined) {
      sequence = new CriticalSequence(this, this.#state.sequence(name));
      this.#sequences.set(name, sequence);
    }
    if (options !== undefined) sequence.state.configure(options);
    return sequence;
  }

  /**
   * Runs `fn` as a transaction; its changes are durable when this returns.
   *
   * @throws ERR_CONFLICT (`require`, `ifVersion`), ERR_INVALID_ARGUMENT, ERR_LIMIT, ERR_SEQUENCE_FENCED: nothing
   *   was changed. ERR_IO, ERR_DISK_FULL: it is not known whether the change is durable, and everything after it
   *   is ERR_POISONED until the store is opened again; retry with an idempotency key.
   */
  commit<T>(fn: (tx: Transaction) => T, options?: CommitOptions): Receipt<T> {
    return this.#writable().commit(fn, options);
  }

  /** The same without waiting for the disk: `fn` runs at once, the promise resolves when its changes are durable. */
  commitAsync<T>(fn: (tx: Transaction) => T, options?: CommitOptions): Promise<Receipt<T>> {
    if (this.#committer === undefined) return Promise.reject(readOnlyError());
    return this.#committer.commitAsync(fn, options);
  }

  /** Writes a cut: a named moment with an opaque body, durable on return. */
  cut(name: string, body: Uint8Array, annotations?: Annotations): Receipt<undefined> {
    return this.#writable().commitCut(name, body, annotations);
  }

  /** Takes a snapshot now; one is taken by itself whenever the log has grown enough. */
  async snapshot(): Promise<{ lsn: bigint; sizeBytes: number }> {
    this.#writable();
    const { lsn, bodyBytes } = await this.#snapshots!.take();
    return { lsn: BigInt(lsn), sizeBytes: bodyBytes };
  }

  /**
   * Takes a fenced sequence over: its next number is at least `atLeast`. Make sure first that the original issues
   * no more. Returns the next number.
   */
  adoptSequence(name: string, atLeast: bigint): bigint {
    return adoptSequence(this.#writable(), this.sequence(name).state, atLeast, this.#witness);
  }

  /** Confirms that this store was moved, not copied. @throws ERR_SEQUENCE_FENCED for a backup, fork or rollback */
  adoptMoved(): void {
    adoptMoved(this.#writable(), this.#state);
  }

  /** The audit trail: every kept commit with its changes before and after, oldest first. */
  log(query: LogQuery = {}): IterableIterator<AuditEntry> {
    return auditLog(this.#trail, this.#state, query, this.#history.firstLsn);
  }

  /** Proves the audit trail whole, or names the first bad link, and finds a head in it. Reads all history kept. */
  verifyAudit(query?: AuditQuery): AuditReport {
    return verifyAudit(this.#history, this.#state, query);
  }

  /** What `migrate` would change; nothing is written. */
  planMigration(): MigrationPlan[] {
    return planMigration(this.#state);
  }

  /**
   * Rewrites every entry that is older than the schema its map is open with, in small commits. Returns how many, with
   * those that the background was rewriting.
   *
   * @throws ERR_STORE_VERSION when an upgrade function fails; the commits before that stay
   */
  async migrate(signal?: AbortSignal): Promise<number> {
    this.#writable();
    return this.#upgrades!.run(this.#state.tables(), signal);
  }

  /**
   * Writes a verified copy of the partition to `directory`, as of now and while it is in use; its sequences are
   * fenced. Onto an earlier backup only new history is written.
   *
   * @throws ERR_EXISTS when the directory was opened as a store since
   */
  backup(directory: string, options?: BackupOptions): Promise<BackupResult> {
    this.#writable();
    const parts = { disk: this.#options.disk, state: this.#state, history: this.#history };
    return this.#snapshots!.alone(() => backupCritical(parts, directory, options));
  }

  /** @internal The log finds no space ahead. */
  makeRoom(): void {
    this.#snapshots?.makeRoom();
  }

  /** @internal */
  nowUs(): number {
    return Math.max(this.#clock(), this.#state.timeUs);
  }

  stats(): CriticalStats {
    const state = this.#state;
    return {
      lsn: BigInt(state.lsn),
      timeUs: BigInt(state.timeUs),
      ...state.contents(),
      fence: state.fence,
      poisoned: this.#committer?.poisoned ?? false,
      inFlight: this.#committer?.inFlight ?? 0,
      commitNs: this.#committer?.commitNs.summary() ?? EMPTY,
      commitAsyncNs: this.#committer?.commitAsyncNs.summary() ?? EMPTY,
      recovery: this.#recovery,
      snapshots: this.#snapshots?.stats(),
      history: this.#history.stats(),
      valueBytes: state.values.sizeBytes,
      reserve: this.#reserve?.stats(),
      log: this.#journal instanceof WriteAheadLog ? this.#journal.stats() : undefined,
      idempotency: state.idempotency.stats(),
    };
  }

  /** Waits for what is in flight, gives unused reservations back and closes the log. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const committer = this.#committer;
    await this.#socket?.close();
    if (committer !== undefined) {
      await this.#snapshots!.close();
      await committer.settled();
      // A witness never goes back, so what it has seen reserved stays used.
      if (this.#witness === undefined) this.#releaseReservations(committer);
      committer.close();
      this.#witness?.close();
    }
    await this.#history.close();
    await this.#reserve?.close();
    await this.#journal?.close();
  }

  #releaseReservations(committer: Committer): void {
    const state = this.#state;
    const unused = state
      .sequences()
      .filter((sequence) => sequence.visibleNext < sequence.loggedNext && !state.isFenced(sequence));
    if (unused.length === 0 || committer.poisoned) return;
    committer.commit((tx) => {
      for (const sequence of unused) tx.release(sequence);
    });
  }

  readonly #followers: Followers = {
    acknowledging: (record) => {
      if (this.#witness !== undefined && record.changes.some(({ kind }) => kind === "sequence")) {
        this.#witness.update(this.#state);
      }
    },
    keep: (record) => {
      this.#history.add(record);
      this.#snapshots?.consider();
    },
  };

  readonly #warn = (message: string, error: unknown): void => {
    this.#options.onWarning?.(message, error);
  };

  #writable(): Committer {
    if (this.#committer === undefined) throw readOnlyError();
    return this.#committer;
  }

  #checkOpen(): void {
    if (this.#closed) throw new StoreError("ERR_CLOSED", "the critical partition is closed");
  }
}

function logPlace({ disk, directory, storeId }: CriticalOptions) {
  return { disk, directory, storeId };
}

const RESERVE_BYTES = 64 << 20;
const LOADS = 5;
const DISK_FULL = "the disk is full: the critical log goes round in the segments it has; free some space now";

const EMPTY: HistogramSummary = { count: 0, min: 0, mean: 0, p50: 0, p90: 0, p99: 0, p999: 0, max: 0 };

function readOnlyError(): StoreError {
  return new StoreError("ERR_INVALID_ARGUMENT", "the store was opened read-only", {
    hint: "Open it for writing, or reach the engine that has it open through its socket.",
  });
}
