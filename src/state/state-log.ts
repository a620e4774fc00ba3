import type { Disk, DiskFile } from "../disk/disk.ts";
import { makeDurableDirectory } from "../disk/durable-directory.ts";
import { lockDirectory } from "../disk/lock.ts";
import { StoreError } from "../errors.ts";
import { KEY_BYTES_MAX, STATE_UPDATE_BYTES_MAX } from "../limits.ts";
import { type Change, packChanges } from "../versions/changes.ts";
import { LOG_HEADER_BYTES } from "../versions/log-format.ts";
import type { PlacedRecord } from "../versions/log-reader.ts";
import { rewriteLog } from "../versions/rewrite-log.ts";
import { VersionStore } from "../versions/version-store.ts";
import { fromLogChange, type StateChange, toLogChange } from "./change-format.ts";

export interface StateLogOptions {
  disk: Disk;
  directory: string;
  storeId: Uint8Array;
  readOnly: boolean;
  nowUs: () => bigint;
  /** Told of every change in order, and before a replay from the start. */
  onChange: (change: StateChange, place: { offset: number; sizeBytes: number }) => void;
  onRestart: () => void;
}

/**
 * The log of one state map. Anybody reads it; the first who writes takes the kernel's lock on its directory and keeps
 * it until it closes the map, so that one process at a time writes a map and nobody waits for a disk to be allowed to.
 */
export class StateLog {
  readonly #options: StateLogOptions;
  #versions: VersionStore | undefined;
  #lock: DiskFile | undefined;
  #inode: bigint | undefined;

  constructor(options: StateLogOptions) {
    this.#options = options;
    if (this.#exists()) this.#open(true);
  }

  get isWriter(): boolean {
    return this.#lock !== undefined;
  }

  get logBytes(): number {
    return this.#versions?.logBytes ?? 0;
  }

  get #path(): string {
    return `${this.#options.directory}/log`;
  }

  /** A log without records was never used: whatever its header is, its creator may have died writing it. */
  #exists(): boolean {
    const { disk, directory } = this.#options;
    if ((disk.stat(this.#path)?.sizeBytes ?? 0) > LOG_HEADER_BYTES) return true;
    return disk.stat(`${directory}/mark`) !== undefined;
  }

  #open(readOnly: boolean): void {
    const { disk, directory, storeId, nowUs, onChange, onRestart } = this.#options;
    this.#versions?.close();
    this.#versions = undefined;
    onRestart();
    // Read before the log is opened: one that is replaced in between is noticed at the next refresh.
    this.#inode = disk.stat(this.#path)?.inode;
    const onRecord = (record: PlacedRecord, changes: Change[]) => {
      const place = { offset: record.offset, sizeBytes: record.sizeBytes };
      for (const change of changes) onChange(fromLogChange(change), place);
    };
    this.#versions = VersionStore.openAlone({ disk, directory, storeId, readOnly, nowUs, onRecord });
  }

  /**
   * Becomes the map's writer: catches up with what the last one left, and heals its log.
   * @throws `ERR_STORE_LOCKED` with the holder's pid
   */
  takeOver(): void {
    if (this.#lock !== undefined) return;
    const { disk, directory, storeId, readOnly } = this.#options;
    if (readOnly) {
      throw new StoreError("ERR_INVALID_ARGUMENT", "the store was opened read-only", {
        hint: "Open it without `readOnly` to change it.",
      });
    }
    makeDurableDirectory(disk, directory);
    const lock = lockDirectory(disk, directory);
    try {
      if (!this.#exists()) VersionStore.create({ disk, directory, storeId });
      this.#open(false);
      this.#lock = lock;
    } catch (error) {
      lock.close();
      throw error;
    }
  }

  /** Catches up with another process's writer: what it has made durable. */
  refresh(): void {
    if (this.isWriter) return;
    if (!this.#exists()) return;
    const inode = this.#options.disk.stat(this.#path)?.inode;
    if (this.#versions === undefined || inode !== this.#inode) this.#open(true);
    else this.#versions.refresh();
  }

  /** Appends changes, as many records as they need, an update never split; durable when it resolves. */
  async append(updates: readonly StateChange[][]): Promise<void> {
    let waiting: StateChange[] = [];
    let sizeBytes = 0;
    for (const update of updates) {
      const updateBytes = sizeOf(update);
      if (sizeBytes + updateBytes > STATE_UPDATE_BYTES_MAX && waiting.length > 0) {
        await this.#appendRecord(waiting);
        waiting = [];
        sizeBytes = 0;
      }
      waiting.push(...update);
      sizeBytes += updateBytes;
    }
    if (waiting.length > 0) await this.#appendRecord(waiting);
  }

  async #appendRecord(changes: readonly StateChange[]): Promise<void> {
    await this.#versions!.commit(() => changes.map(toLogChange));
  }

  /** The changes of the record at a place. */
  read({ offset, sizeBytes }: { offset: number; sizeBytes: number }): StateChange[] {
    return this.#versions!.changesAt(offset, sizeBytes).map(fromLogChange);
  }

  /**
   * Writes the log again with these records of changes, and replays it. The new log takes the old one's name when it
   * is whole; readers notice by its identity.
   */
  compact(records: { timeUs: bigint; changes: StateChange[] }[]): void {
    const { disk, directory, storeId } = this.#options;
    const placed = records.map(({ timeUs, changes }, at): PlacedRecord => {
      return {
        seq: BigInt(at + 1),
        timeUs,
        payload: packChanges(changes.map(toLogChange)),
        offset: at,
        sizeBytes: 0,
      };
    });
    rewriteLog(disk, {
      directory,
      storeId,
      inspection: {
        logPath: this.#path,
        markPath: `${directory}/mark`,
        headerDamage: undefined,
        records: placed,
        damage: [],
        padding: [],
        tornBytes: 0,
        mark: "good",
      },
    });
    this.#open(false);
  }

  close(): void {
    this.#versions?.close();
    this.#lock?.close();
    this.#versions = undefined;
    this.#lock = undefined;
  }
}

/** About what a change takes in a record. */
export function sizeOf(update: readonly StateChange[]): number {
  return update.reduce(
    (sum, { key, bytes }) => sum + Buffer.byteLength(key) + (bytes?.byteLength ?? 0) + 32,
    0,
  );
}

export function checkKey(map: string, key: string): void {
  if (typeof key === "string" && key !== "" && Buffer.byteLength(key) <= KEY_BYTES_MAX) return;
  const isText = typeof key === "string" && key !== "";
  throw new StoreError(
    isText ? "ERR_LIMIT" : "ERR_INVALID_ARGUMENT",
    `map ${map}: ${isText ? `a key of ${Buffer.byteLength(key)} bytes` : "the key is no text, or empty"}`,
    {
      context: { map, limitBytes: KEY_BYTES_MAX },
      hint: `A key is a text of 1 to ${KEY_BYTES_MAX} bytes.`,
    },
  );
}
