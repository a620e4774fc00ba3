import type { Disk, DiskFile } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import { VERSION_RECORD_BYTES_MAX } from "../limits.ts";
import { type Change, packChanges, unpackChanges } from "./changes.ts";
import { LOG_HEADER_BYTES } from "./log-format.ts";
import {
  checkLogHeader,
  type LogScan,
  type PlacedRecord,
  recordAt,
  scanLog,
  strayPadding,
} from "./log-reader.ts";
import { encodeLogHeader, encodeRecord } from "./log-writer.ts";
import { MarkFile } from "./mark-file.ts";

export interface Versioned {
  value: unknown;
  /** The record that last set the key. */
  seq: bigint;
  timeUs: bigint;
  /** Bytes that record takes in the log. */
  recordBytes: number;
}

export interface Committed {
  seq: bigint;
  timeUs: bigint;
  recordBytes: number;
}

export interface VersionStoreOptions {
  disk: Disk;
  /** The store's `versions` directory. */
  directory: string;
  storeId: Uint8Array;
  readOnly: boolean;
  nowUs: () => bigint;
  /**
   * Told of each record as it is replayed, in order, instead of the changes being kept here: for a log whose meaning
   * somebody else keeps.
   */
  onRecord?: (record: PlacedRecord, changes: Change[]) => void;
}

/** What the log's bytes say, for `check` and `repair`. */
export interface LogInspection {
  logPath: string;
  markPath: string;
  headerDamage: string | undefined;
  records: PlacedRecord[];
  /** Ranges that hold no good record although a later one, or the mark, proves that there was one. */
  damage: { offset: number; sizeBytes: number }[];
  /** Bytes after everything known durable: what an interrupted append left behind. */
  tornBytes: number;
  /** Where bytes that a writer left zero, behind the header or a good record, are not; nothing is lost with them. */
  padding: { offset: number; sizeBytes: number }[];
  mark: "good" | "absent" | "damaged";
}

/**
 * Named maps whose changes are ordered for all processes: refs, versions, tags.
 *
 * The log is the truth and the maps are its replay, kept in memory and caught up with by `refresh`. A change is
 * visible, here and elsewhere, once it is durable. One process at a time appends, under a lock the kernel frees
 * when it dies; `commit` builds its changes under that lock from the newest state, which makes it compare-and-set.
 */
export class VersionStore {
  readonly #options: VersionStoreOptions;
  readonly #logPath: string;
  readonly #mark: MarkFile;
  readonly #maps = new Map<string, Map<string, Versioned>>();
  #alone = false;
  #seenBytes = LOG_HEADER_BYTES;
  #seq = 0n;
  #lastTimeUs = 0n;
  #log: DiskFile | undefined;
  #poisoned: unknown;
  #committing: Promise<unknown> = Promise.resolve();

  private constructor(options: VersionStoreOptions) {
    this.#options = options;
    this.#logPath = `${options.directory}/log`;
    this.#mark = new MarkFile(options.disk, options.directory, options.storeId);
  }

  /** Creates the empty log of a new store; durable when it returns. */
  static create({
    disk,
    directory,
    storeId,
  }: Pick<VersionStoreOptions, "disk" | "directory" | "storeId">): void {
    disk.makeDirectory(directory);
    const log = disk.open(`${directory}/log`, { access: "write", create: "may" });
    log.writeSync(encodeLogHeader(storeId), 0);
    log.truncate(LOG_HEADER_BYTES);
    log.syncSync();
    log.close();
    disk.open(`${directory}/lock`, { access: "write", create: "may" }).close();
    disk.syncDirectory(directory);
  }

  /**
   * Opens the log and takes over what lies past its mark, which a power cut may have set back: every record that was
   * acknowledged is seen from the start.
   * @throws `ERR_STORE_CORRUPT` when acknowledged records are damaged or missing.
   */
  static async open(options: VersionStoreOptions): Promise<VersionStore> {
    const store = new VersionStore(options);
    try {
      if (options.readOnly) await store.#adoptTail();
      else (await store.lock(() => store.#healTail())).close();
      return store;
    } catch (error) {
      store.close();
      throw error;
    }
  }

  /**
   * Opens a log that only one process writes, which holds a lock of its own: no other lock is taken. With `writer`,
   * what lies past the mark is healed; without, it is read as far as it is whole.
   * @throws `ERR_STORE_CORRUPT` when acknowledged records are damaged or missing.
   */
  static openAlone(options: VersionStoreOptions): VersionStore {
    const store = new VersionStore(options);
    store.#alone = true;
    try {
      if (options.readOnly) store.#adoptRecords();
      else store.#healTail();
      return store;
    } catch (error) {
      store.close();
      throw error;
    }
  }

  /** Replays every good record, whatever lies between them, and says what does. Never writes. */
  static inspect(options: Pick<VersionStoreOptions, "disk" | "directory" | "storeId">): {
    store: VersionStore;
    inspection: LogInspection;
  } {
    const store = new VersionStore({ ...options, readOnly: true, nowUs: () => 0n });
    const { disk, directory } = options;
    const markPresent = disk.list(directory).includes("mark");
    const mark = disk.stat(store.#mark.path)?.isFile === true ? store.#mark.read() : undefined;
    const present = disk.stat(store.#logPath)?.isFile === true;
    const bytes = present ? store.#readWhole() : Buffer.alloc(0);
    const headerDamage = present
      ? checkLogHeader(bytes.subarray(0, LOG_HEADER_BYTES), options.storeId)
      : "it is missing, or no file";
    const { records, damage, goodBytes, tailBytes } = scanLog(
      bytes.subarray(LOG_HEADER_BYTES),
      options.storeId,
      LOG_HEADER_BYTES,
    );
    for (const record of records) {
      store.#seq = record.seq - 1n;
      store.#apply(record);
    }
    const lostBytes = Math.max(0, Math.min(mark?.logBytes ?? 0, goodBytes + tailBytes) - goodBytes);
    // Of a log that is not there, its header's damage says it all.
    if (present && (lostBytes > 0 || (mark?.logBytes ?? 0) > goodBytes + tailBytes)) {
      damage.push({ offset: goodBytes, sizeBytes: (mark?.logBytes ?? 0) - goodBytes });
    }
    const inspection: LogInspection = {
      logPath: store.#logPath,
      markPath: store.#mark.path,
      headerDamage,
      records,
      damage,
      tornBytes: tailBytes - lostBytes,
      padding: headerDamage === undefined ? strayPadding(bytes, records) : [],
      mark: mark !== undefined ? "good" : markPresent ? "damaged" : "absent",
    };
    return { store, inspection };
  }

  /** The newest durable record this process has seen. */
  get seq(): bigint {
    return this.#seq;
  }

  /** Bytes of the log up to and with that record. */
  get durableBytes(): number {
    return this.#seenBytes;
  }

  get(map: string, key: string): Versioned | undefined {
    return this.#maps.get(map)?.get(key);
  }

  /** The entries of a map, in the order their keys were first set. */
  entries(map: string): Iterable<[string, Versioned]> {
    return this.#maps.get(map) ?? [];
  }

  /** Catches up with what other processes have made durable: what the mark speaks of. */
  refresh(): void {
    // The mark first: the log read after it holds at least what the mark speaks of.
    const mark = this.#mark.read();
    const log = this.#readLog(this.#seenBytes);
    if (mark === undefined || mark.logBytes <= this.#seenBytes) return;
    const scan = scanLog(log, this.#options.storeId, this.#seenBytes);
    this.#refuseDamage(scan, mark.logBytes);
    if (scan.goodBytes < mark.logBytes) {
      throw this.#corrupt(
        scan.goodBytes,
        `records up to offset ${mark.logBytes} were acknowledged and are gone or damaged`,
      );
    }
    for (const record of scan.records) {
      if (record.offset + record.sizeBytes <= mark.logBytes) this.#apply(record);
    }
  }

  #refuseDamage(scan: LogScan, beforeBytes: number): void {
    const first = scan.damage.find((range) => range.offset < beforeBytes);
    if (first !== undefined)
      throw this.#corrupt(first.offset, "a record there is damaged and good ones follow it");
  }

  /**
   * Appends one record of changes and resolves when it is durable. `build` runs under the writers' lock, after a
   * refresh: what it reads is what its changes follow. When it throws, nothing is written.
   * @throws `ERR_POISONED` after a failed write or sync, until the store is reopened.
   */
  commit(build: (timeUs: bigint) => Change[]): Promise<Committed> {
    const step = this.#committing.then(() => this.#commitNow(build));
    this.#committing = step.catch(() => {});
    return step;
  }

  async #commitNow(build: (timeUs: bigint) => Change[]): Promise<Committed> {
    if (this.#options.readOnly) {
      throw new StoreError("ERR_INVALID_ARGUMENT", "the store was opened read-only", {
        hint: "Open it without `readOnly` to change it.",
      });
    }
    this.#refusePoisoned();
    const lock = this.#alone ? undefined : await this.lock();
    try {
      this.#healTail();
      const timeUs = this.#nextTimeUs();
      const payload = packChanges(build(timeUs));
      if (payload.byteLength > VERSION_RECORD_BYTES_MAX) {
        throw new StoreError(
          "ERR_LIMIT",
          `the version's record takes ${payload.byteLength} bytes; the limit is ${VERSION_RECORD_BYTES_MAX}`,
          { hint: "Keep large metadata in a file of the version, or in its resume blob." },
        );
      }
      const record = { seq: this.#seq + 1n, timeUs, payload };
      const offset = this.#seenBytes;
      const bytes = encodeRecord(record, this.#options.storeId, offset);
      const log = this.#openLog();
      await this.#append(log, bytes, offset);
      this.#mark.writeIfPossible({ logBytes: offset + bytes.byteLength, seq: record.seq });
      this.#apply({ ...record, offset, sizeBytes: bytes.byteLength });
      return { seq: record.seq, timeUs, recordBytes: bytes.byteLength };
    } finally {
      lock?.close();
    }
  }

  /** The writers' lock, once `first` has been done under it; closing the file frees it. */
  async lock(first: () => void = () => {}): Promise<DiskFile> {
    const lock = this.#options.disk.open(`${this.#options.directory}/lock`, {
      access: "write",
      create: "may",
    });
    try {
      if (!lock.tryLock("exclusive")) await lock.lock("exclusive");
      first();
      return lock;
    } catch (error) {
      lock.close();
      throw error;
    }
  }

  /**
   * With the lock held: takes over what lies past the mark. A record there may be acknowledged (the mark is never
   * synced, so a power cut may set it back), whole but only in the page cache (its writer died: synced now, and then
   * it counts), or torn (cut off: nobody was told of it). Nothing is written in its place, which could tear it.
   */
  #healTail(): void {
    this.refresh();
    const scan = scanLog(this.#readLog(this.#seenBytes), this.#options.storeId, this.#seenBytes);
    this.#refuseDamage(scan, scan.goodBytes);
    if (scan.records.length > 0 || scan.tailBytes > 0) {
      const log = this.#openLog();
      if (scan.tailBytes > 0) log.truncate(scan.goodBytes);
      log.syncSync();
      for (const record of scan.records) this.#apply(record);
    }
    const mark = this.#mark.read();
    if (mark?.logBytes !== this.#seenBytes) {
      this.#mark.writeIfPossible({ logBytes: this.#seenBytes, seq: this.#seq });
    }
  }

  /** What lies past the mark, for a reader that may not write: whole records count once no writer is at work. */
  async #adoptTail(): Promise<void> {
    const path = `${this.#options.directory}/lock`;
    const present = this.#options.disk.stat(path) !== undefined;
    const lock = present ? this.#options.disk.open(path, { access: "read" }) : undefined;
    try {
      if (lock?.tryLock("shared") === false) await lock.lock("shared");
      this.#adoptRecords();
    } finally {
      lock?.close();
    }
  }

  #adoptRecords(): void {
    this.refresh();
    const scan = scanLog(this.#readLog(this.#seenBytes), this.#options.storeId, this.#seenBytes);
    this.#refuseDamage(scan, scan.goodBytes);
    for (const record of scan.records) this.#apply(record);
  }

  #apply(record: PlacedRecord): void {
    const { seq, timeUs, sizeBytes: recordBytes } = record;
    if (seq !== this.#seq + 1n)
      throw this.#corrupt(record.offset, `record ${this.#seq + 1n} is missing before ${seq}`);
    const changes = unpackChanges(record.payload);
    this.#options.onRecord?.(record, changes);
    for (const { map: mapName, key, value } of this.#options.onRecord === undefined ? changes : []) {
      let map = this.#maps.get(mapName);
      if (map === undefined) {
        map = new Map();
        this.#maps.set(mapName, map);
      }
      if (value === null) map.delete(key);
      else map.set(key, { value, seq, timeUs, recordBytes });
    }
    this.#seq = seq;
    this.#lastTimeUs = timeUs;
    this.#seenBytes = record.offset + recordBytes;
  }

  /** Time never goes back, whatever the wall clock does. */
  #nextTimeUs(): bigint {
    const now = this.#options.nowUs();
    return now > this.#lastTimeUs ? now : this.#lastTimeUs + 1n;
  }

  /** The changes of the record at `offset`, which has been replayed before. @throws `ERR_STORE_CORRUPT` */
  changesAt(offset: number, sizeBytes: number): Change[] {
    const bytes = Buffer.allocUnsafeSlow(sizeBytes);
    const count = this.#openLog().readSync(bytes, offset);
    const record = recordAt(bytes.subarray(0, count), 0, this.#options.storeId, offset);
    if (record === undefined) throw this.#corrupt(offset, "a record there is damaged");
    return unpackChanges(record.payload);
  }

  /** Bytes of the log that hold good records. */
  get logBytes(): number {
    return this.#seenBytes;
  }

  #openLog(): DiskFile {
    this.#log ??= this.#options.disk.open(this.#logPath, {
      access: this.#options.readOnly ? "read" : "write",
    });
    return this.#log;
  }

  #readWhole(): Buffer {
    const log = this.#openLog();
    const bytes = Buffer.alloc(log.sizeBytes());
    return bytes.subarray(0, log.readSync(bytes, 0));
  }

  #readLog(from: number): Uint8Array {
    const log = this.#openLog();
    if (from === LOG_HEADER_BYTES) {
      const header = Buffer.alloc(LOG_HEADER_BYTES);
      const count = log.readSync(header, 0);
      const damage = checkLogHeader(header.subarray(0, count), this.#options.storeId);
      if (damage !== undefined) throw this.#corrupt(0, damage);
    }
    const bytes = Buffer.allocUnsafeSlow(Math.max(0, log.sizeBytes() - from));
    return bytes.subarray(0, log.readSync(bytes, from));
  }

  /**
   * Appends a record and makes it durable. What fails is cut off again: its caller is told that it is not there, and
   * after a failed sync the kernel calls its pages clean, so that a later sync would swear to bytes it never wrote. A
   * failed sync is final for this process.
   */
  async #append(log: DiskFile, bytes: Uint8Array, offset: number): Promise<void> {
    let written = false;
    try {
      await log.write(bytes, offset);
      written = true;
      await log.sync();
    } catch (error) {
      if (written) this.#poisoned = error;
      try {
        log.truncate(offset);
      } catch {
        this.#poisoned = error;
      }
      throw error;
    }
  }

  #refusePoisoned(): void {
    if (this.#poisoned === undefined) return;
    throw new StoreError("ERR_POISONED", `${this.#logPath}: an earlier write of the log failed`, {
      cause: this.#poisoned,
      hint: "Close the store and open it again: opening recovers what is durable.",
    });
  }

  #corrupt(offset: number, what: string): StoreError {
    return new StoreError("ERR_STORE_CORRUPT", `${this.#logPath}, offset ${offset}: ${what}`, {
      context: { path: this.#logPath, offset },
      hint: "Run `varve check` to see which versions are affected, then `varve repair`.",
    });
  }

  close(): void {
    this.#log?.close();
    this.#log = undefined;
  }
}
