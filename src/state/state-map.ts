import { type MapOptions, MapSchema } from "../critical/schema.ts";
import { StoreError } from "../errors.ts";
import {
  STATE_FLUSH_MS,
  STATE_HISTORY_BYTES,
  STATE_PENDING_BYTES_MAX,
  STATE_UPDATE_BYTES_MAX,
} from "../limits.ts";
import { packValue, type StateChange, unpackValue } from "./change-format.ts";
import { keptRecords, type Trail } from "./compaction.ts";
import { PersistentMap } from "./persistent-map.ts";
import { type StateSnapshot, snapshotOf } from "./snapshot.ts";
import { checkKey, StateLog, type StateLogOptions, sizeOf } from "./state-log.ts";

export interface StateMapOptions<V> extends MapOptions<V> {
  /** How long a change may wait for others to be made durable with it, milliseconds. Default 200, at most 1,000. */
  flushMs?: number;
  /** Bytes of history to keep; the newest value of every key is kept whatever it takes. Default 16 MiB. */
  historyBytes?: number;
}

/** One value a key has had. */
export interface StateVersion<V> {
  /** Number of the update, from 1 in each map. */
  seq: number;
  timeUs: bigint;
  /** `undefined` when the key was removed. */
  value: V | undefined;
}

/** What one update changes; all of it at once, or nothing. */
export interface StateUpdate<V> {
  get(key: string): V | undefined;
  put(key: string, value: V): void;
  delete(key: string): void;
}

const FLUSH_MS_MAX = 1000;

/**
 * A strategy's own state: a map whose changes are seen at once in this process, are durable within a second, and are
 * never torn. Values come and go as copies. The first put makes this process the map's writer until it is closed;
 * others read, and catch up with `refresh`.
 */
export class StateMap<V> {
  readonly name: string;
  readonly #schema: MapSchema;
  readonly #log: StateLog;
  readonly #nowUs: () => bigint;
  readonly #flushMs: number;
  readonly #historyBytes: number;
  #state = PersistentMap.empty<StateChange>();
  #trails = new Map<string, Trail>();
  #seq = 0;
  #lastTimeUs = 0n;
  /** Set while what is written here comes back through the log: it is in memory already. */
  #replaying = true;
  #pending: StateChange[][] = [];
  /** On their way to the disk. */
  #inFlight: StateChange[][] = [];
  #pendingBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();
  #failure: unknown;
  #closed = false;

  constructor(
    name: string,
    log: Omit<StateLogOptions, "onChange" | "onRestart">,
    options: StateMapOptions<V> = {},
  ) {
    this.name = name;
    this.#schema = new MapSchema(name, options as MapOptions<never>);
    const { flushMs = STATE_FLUSH_MS, historyBytes = STATE_HISTORY_BYTES } = options;
    if (!(flushMs >= 0 && flushMs <= FLUSH_MS_MAX)) {
      throw new StoreError(
        "ERR_INVALID_ARGUMENT",
        `map ${name}: flushMs is a number from 0 to ${FLUSH_MS_MAX}`,
      );
    }
    this.#flushMs = flushMs;
    this.#historyBytes = historyBytes;
    this.#nowUs = log.nowUs;
    this.#log = new StateLog({
      ...log,
      onChange: (change, place) => this.#apply(change, place),
      onRestart: () => this.#restart(),
    });
  }

  get size(): number {
    return this.#state.size;
  }

  /** Number of the last update. */
  get seq(): number {
    return this.#seq;
  }

  /** A copy of the key's value, or `undefined`. */
  get(key: string): V | undefined {
    return this.#valueOf(this.#state.get(key));
  }

  has(key: string): boolean {
    return this.#state.get(key) !== undefined;
  }

  entries(): [string, V][] {
    return this.snapshot().entries();
  }

  keys(): string[] {
    return this.snapshot().keys();
  }

  /**
   * Sets a key; seen at once here, durable within `flushMs` or when `flush` resolves.
   * @throws `ERR_STORE_LOCKED` when another process writes this map, `ERR_INVALID_ARGUMENT` from the schema,
   *   `ERR_LIMIT`, `ERR_POISONED` after a failed write
   */
  put(key: string, value: V): void {
    this.update((change) => change.put(key, value));
  }

  /** Removes a key; its history stays. Removing one that is not there changes nothing. */
  delete(key: string): void {
    this.update((change) => change.delete(key));
  }

  /** Several changes as one: readers, snapshots and what is left after a crash have all of them or none. */
  update<R>(build: (change: StateUpdate<V>) => R): R {
    this.#requireWritable();
    this.#takeOver();
    const changes = new Map<string, StateChange>();
    const seq = this.#seq + 1;
    const timeUs = this.#nextTimeUs();
    const note = (key: string, bytes: Uint8Array | undefined) => {
      checkKey(this.name, key);
      changes.set(key, { key, seq, timeUs, schemaVersion: this.#schema.version, bytes });
    };
    const result = build({
      get: (key) => this.#valueOf(changes.get(key) ?? this.#state.get(key)),
      put: (key, value) => note(key, this.#packed(key, value)),
      delete: (key) => note(key, undefined),
    });
    const update = [...changes.values()].filter(({ key, bytes }) => bytes !== undefined || this.has(key));
    if (update.length > 0) this.#commit(update);
    return result;
  }

  #packed(key: string, value: unknown): Uint8Array {
    checkKey(this.name, key);
    return packValue(this.name, key, this.#schema.validated(value, `key ${JSON.stringify(key)}`));
  }

  #commit(update: StateChange[]): void {
    const sizeBytes = sizeOf(update);
    if (sizeBytes > STATE_UPDATE_BYTES_MAX || this.#pendingBytes + sizeBytes > STATE_PENDING_BYTES_MAX) {
      const isLarge = sizeBytes > STATE_UPDATE_BYTES_MAX;
      throw new StoreError(
        "ERR_LIMIT",
        isLarge
          ? `map ${this.name}: an update of ${sizeBytes} bytes; the limit is ${STATE_UPDATE_BYTES_MAX}`
          : `map ${this.name}: ${this.#pendingBytes} bytes wait to be written already`,
        {
          retryable: !isLarge,
          context: { map: this.name, sizeBytes },
          hint: isLarge
            ? "Keep large state in a checkpoint or a feature table."
            : "Await `flush()` between updates.",
        },
      );
    }
    for (const change of update) this.#put(change);
    this.#pending.push(update);
    this.#pendingBytes += sizeBytes;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      // Whoever puts or flushes next is told.
      this.#flushNow().catch(() => {});
    }, this.#flushMs);
  }

  #put(change: StateChange): void {
    this.#state =
      change.bytes === undefined ? this.#state.delete(change.key) : this.#state.set(change.key, change);
    this.#seq = Math.max(this.#seq, change.seq);
    if (change.timeUs > this.#lastTimeUs) this.#lastTimeUs = change.timeUs;
  }

  /** Makes every change so far durable. @throws `ERR_POISONED` when a write has failed: open the store again */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#flushNow();
  }

  #flushNow(): Promise<void> {
    this.#flushing = this.#flushing.catch(() => {}).then(() => this.#writePending());
    return this.#flushing;
  }

  async #writePending(): Promise<void> {
    this.#refuseFailed();
    if (this.#pending.length === 0) return;
    this.#inFlight = this.#pending.splice(0);
    this.#pendingBytes = 0;
    try {
      await this.#log.append(this.#inFlight);
      this.#inFlight = [];
      this.#compactIfLarge();
    } catch (error) {
      this.#failure = error;
      throw error;
    }
  }

  /** The map as it is now: constant time, whatever its size. Includes what is not durable yet. */
  snapshot(): StateSnapshot<V> {
    return snapshotOf(this.#state, this.#seq, (change) => this.#valueOf(change) as V);
  }

  /**
   * Every value the key has had, oldest first, as far as history is kept; it is read from the log. Changes that are
   * not durable yet are the last.
   */
  history(key: string): StateVersion<V>[] {
    const trail = this.#trails.get(key);
    const changes: StateChange[] = [];
    trail?.offsets.forEach((offset, at) => {
      if (offset === trail.offsets[at - 1]) return;
      const record = this.#log.read({ offset, sizeBytes: trail.sizes[at]! });
      changes.push(...record.filter((change) => change.key === key));
    });
    const written = changes.at(-1)?.seq ?? 0;
    for (const update of [...this.#inFlight, ...this.#pending]) {
      changes.push(...update.filter((change) => change.key === key && change.seq > written));
    }
    return changes.map((change) => ({
      seq: change.seq,
      timeUs: change.timeUs,
      value: this.#valueOf(change),
    }));
  }

  /** Catches up with the process that writes this map. The writer itself is always up to date. */
  refresh(): void {
    this.#requireOpen();
    this.#log.refresh();
  }

  #takeOver(): void {
    if (this.#log.isWriter) return;
    this.#log.takeOver();
    // From here on records come back through the log only to tell where they lie.
    this.#replaying = false;
  }

  #restart(): void {
    this.#replaying = true;
    this.#state = PersistentMap.empty();
    this.#trails = new Map();
    this.#seq = 0;
  }

  #apply(change: StateChange, { offset, sizeBytes }: { offset: number; sizeBytes: number }): void {
    let trail = this.#trails.get(change.key);
    if (trail === undefined) {
      trail = { offsets: [], sizes: [] };
      this.#trails.set(change.key, trail);
    }
    trail.offsets.push(offset);
    trail.sizes.push(sizeBytes);
    if (!this.#replaying) return;
    this.#schema.checkAgainst(change.schemaVersion);
    this.#put(change);
  }

  /** When the log holds twice what is kept: the oldest history goes, the state before the rest stays. */
  #compactIfLarge(): void {
    const { logBytes } = this.#log;
    if (logBytes < 2 * this.#historyBytes) return;
    const liveBytes = [...this.#state.entries()].reduce((sum, [, change]) => sum + sizeOf([change]), 0);
    if (logBytes < 2 * (this.#historyBytes + liveBytes)) return;
    // Nothing waits: what is pending came after what the log has, and would be lost from memory by the replay.
    if (this.#pending.length > 0) return;
    this.#log.compact(keptRecords(this.#log, this.#trails, this.#historyBytes));
    this.#replaying = false;
  }

  #valueOf(change: StateChange | undefined): V | undefined {
    if (change?.bytes === undefined) return undefined;
    return this.#schema.upgraded(unpackValue(change.bytes), change.schemaVersion) as V;
  }

  #nextTimeUs(): bigint {
    const now = this.#nowUs();
    return now > this.#lastTimeUs ? now : this.#lastTimeUs + 1n;
  }

  #requireOpen(): void {
    if (!this.#closed) return;
    throw new StoreError("ERR_CLOSED", `map ${this.name} is closed`, { hint: "Open the store again." });
  }

  #requireWritable(): void {
    this.#requireOpen();
    this.#refuseFailed();
  }

  #refuseFailed(): void {
    if (this.#failure === undefined) return;
    throw new StoreError("ERR_POISONED", `map ${this.name}: an earlier write failed`, {
      cause: this.#failure,
      context: { map: this.name },
      hint: "Open the store again: it has what was durable.",
    });
  }

  /** Makes every change durable and lets go of the map. Closing twice is fine. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      if (this.#failure === undefined) await this.flush();
    } finally {
      clearTimeout(this.#timer);
      this.#log.close();
    }
  }
}
