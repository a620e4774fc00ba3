import { open, type RangeOptions, type RootDatabase } from "lmdb";
import type { Disk } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import {
  type ChunkEntry,
  type ChunkIndex,
  decodeEntry,
  decodePackEnd,
  encodeEntry,
  encodePackEnd,
  INDEX_FORMAT_VERSION,
  type IndexChanges,
  type PackEnd,
  packKey,
} from "./chunk-index.ts";
import { DIGEST_BYTES, SHORT_DIGEST_BYTES } from "./digest.ts";
import { makeLockFile } from "./lmdb-lock-file.ts";

/** Written with the first commit; an index without it has never been completed. Five bytes: no digest, no pack. */
const FORMAT_KEY = Buffer.from("FRMT1", "latin1");

const PAGE_BYTES = 4096;
/** A key and its value in pages that are half full. */
const ENTRY_BYTES = 256;
/** Inner pages, LMDB's list of free ones, and what the version log appends next. */
const SPARE_BYTES = 128 << 10;

/**
 * The index on LMDB, shared by all processes that have the store open.
 *
 * LMDB has no checksums, so each value carries one over its key and itself: a wrong value reads as absent, and what
 * it would have led to is found missing. `overlappingSync` is off, because with it other processes see entries that
 * a power cut then takes back.
 */
export class LmdbIndex implements ChunkIndex {
  readonly #db: RootDatabase<Buffer, Buffer>;
  readonly #disk: Disk;
  readonly #directory: string;
  #poisoned: unknown;

  private constructor(db: RootDatabase<Buffer, Buffer>, disk: Disk, directory: string) {
    this.#db = db;
    this.#disk = disk;
    this.#directory = directory;
  }

  static open(disk: Disk, directory: string, options: { readOnly: boolean }): LmdbIndex {
    if (!options.readOnly) disk.makeDirectory(directory);
    requireFiles(disk, directory);
    makeLockFile(disk, directory);
    try {
      const db = open<Buffer, Buffer>({
        path: directory,
        noSubdir: false,
        encoding: "binary",
        keyEncoding: "binary",
        overlappingSync: false,
        readOnly: options.readOnly,
      });
      return new LmdbIndex(db, disk, directory);
    } catch (error) {
      throw unreadable(directory, error);
    }
  }

  /** Whether the index was ever completed; `ERR_STORE_VERSION` when a newer varve wrote it. */
  get complete(): boolean {
    const format = this.#read(() => this.#db.get(FORMAT_KEY));
    if (format === undefined) return false;
    if (format[0]! > INDEX_FORMAT_VERSION) {
      throw new StoreError("ERR_STORE_VERSION", `${this.#directory}: the index has format ${format[0]}`, {
        hint: "Open the store with the varve that wrote it, or a newer one.",
      });
    }
    return true;
  }

  get(digest: Uint8Array): ChunkEntry | undefined {
    const bytes = this.#read(() => this.#db.get(digest as Buffer));
    return bytes === undefined ? undefined : decodeEntry(digest, bytes);
  }

  find(shortDigest: Uint8Array): { digest: Uint8Array; entry: ChunkEntry } | undefined {
    for (const { key, value } of this.#range({ start: Buffer.from(shortDigest), limit: 1 })) {
      if (key.byteLength !== DIGEST_BYTES) return undefined;
      if (Buffer.compare(key.subarray(0, SHORT_DIGEST_BYTES), shortDigest) !== 0) return undefined;
      const entry = decodeEntry(key, value);
      return entry === undefined ? undefined : { digest: key, entry };
    }
    return undefined;
  }

  packEnd(packId: bigint): PackEnd | undefined {
    const key = packKey(packId);
    const bytes = this.#read(() => this.#db.get(key));
    return bytes === undefined ? undefined : decodePackEnd(key, bytes);
  }

  *packEnds(): Iterable<PackEnd> {
    const first = packKey(0n);
    for (const { key, value } of this.#range({ start: first })) {
      if (key[0] !== first[0]) break;
      if (key.byteLength !== first.byteLength) continue;
      const end = decodePackEnd(key, value);
      if (end !== undefined) yield end;
    }
  }

  *entries(): Iterable<{ digest: Uint8Array; entry: ChunkEntry }> {
    for (const { key, value } of this.#range({})) {
      if (key.byteLength !== DIGEST_BYTES) continue;
      const entry = decodeEntry(key, value);
      if (entry !== undefined) yield { digest: key, entry };
    }
  }

  /** Everything as stored, for the inspection that must not trust it. */
  *raw(): Iterable<{ key: Buffer; value: Buffer }> {
    yield* this.#db.getRange();
  }

  *#range(options: RangeOptions): Iterable<{ key: Buffer; value: Buffer }> {
    const rows = this.#read(() => this.#db.getRange(options)[Symbol.iterator]());
    try {
      for (;;) {
        const row = this.#read(() => rows.next());
        if (row.done) return;
        yield row.value as { key: Buffer; value: Buffer };
      }
    } finally {
      rows.return?.();
    }
  }

  /** What LMDB says of pages it cannot make sense of, or after a failed write, as an error of ours. */
  #read<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (this.#poisoned !== undefined) throw this.#poisonedError();
      throw unreadable(this.#directory, error);
    }
  }

  #poisonedError(): StoreError {
    return new StoreError("ERR_POISONED", `${this.#directory}: an earlier write of the index failed`, {
      cause: this.#poisoned,
      hint: "Close and reopen the store; `varve repair` rebuilds the index if it does not open.",
    });
  }

  rawGet(key: Uint8Array): Buffer | undefined {
    return this.#db.get(key as Buffer);
  }

  static isFormatKey(key: Uint8Array, value: Uint8Array): boolean {
    return (
      Buffer.compare(key, FORMAT_KEY) === 0 && value.byteLength === 1 && value[0] === INDEX_FORMAT_VERSION
    );
  }

  async commit(changes: IndexChanges): Promise<void> {
    const { puts, moves = [], deletes = [], packEnds = [], packsRemoved = [] } = changes;
    if (this.#poisoned !== undefined) throw this.#poisonedError();
    try {
      await this.#db.transaction(() => {
        for (const digest of deletes) this.#db.remove(digest as Buffer);
        for (const { digest, entry } of puts) {
          if (this.get(digest) === undefined) this.#db.put(digest as Buffer, encodeEntry(digest, entry));
        }
        for (const { digest, entry } of moves) this.#db.put(digest as Buffer, encodeEntry(digest, entry));
        for (const packId of packsRemoved) this.#db.remove(packKey(packId));
        for (const end of packEnds) {
          const key = packKey(end.packId);
          this.#db.put(key, encodePackEnd(key, end));
        }
        this.#db.put(FORMAT_KEY, Buffer.from([INDEX_FORMAT_VERSION]));
      });
      await this.#db.flushed;
    } catch (error) {
      this.#poisoned = error;
      const cause = await this.#causeOf(error);
      const message = cause instanceof Error ? cause.message : String(cause);
      // LMDB takes a short write, as a full disk makes it, for an error of the device.
      const full = /ENOSPC|No space|MDB_MAP_FULL/i.test(message) || !this.#hasSpace(1);
      throw new StoreError(
        full ? "ERR_DISK_FULL" : "ERR_IO",
        `${this.#directory}: writing the index failed: ${full ? "the disk is full" : message}`,
        {
          cause,
          hint: "The previous version is intact. Close and reopen the store before writing again.",
        },
      );
    }
  }

  requireSpace(entries: number): void {
    if (this.#hasSpace(entries)) return;
    throw new StoreError(
      "ERR_DISK_FULL",
      `${this.#directory}: no space to write the index: the disk is full`,
      {
        context: { path: this.#directory, entries },
        retryable: true,
        hint: "Free some space (varve gc, varve prune) and try again; what was durable before is untouched.",
      },
    );
  }

  /** Whether the disk has room for the pages that so many entries change: each its own, or all there are and new ones. */
  #hasSpace(entries: number): boolean {
    const freeBytes = this.#disk.freeBytes(this.#directory);
    const changedBytes = Math.min(entries * PAGE_BYTES, this.sizeBytes() + entries * ENTRY_BYTES);
    return freeBytes === undefined || freeBytes >= changedBytes + SPARE_BYTES;
  }

  /**
   * What is behind a failed commit. lmdb hands that out as a promise beside the error and keeps another for whoever
   * waits for writes; it rejects both in the same turn, and left unwatched they would end the process.
   */
  #causeOf(error: unknown): Promise<unknown> {
    const ignore = () => {};
    void this.#db.committed.then(ignore, ignore);
    void this.#db.flushed.then(ignore, ignore);
    const { commitError } = error as { commitError?: Promise<never> };
    if (commitError === undefined) return Promise.resolve(error);
    const known = commitError.catch((cause: unknown) => cause);
    return Promise.race([known, new Promise((resolve) => setImmediate(resolve, error))]);
  }

  refresh(): void {
    this.#db.resetReadTxn();
  }

  sizeBytes(): number {
    return this.#disk.stat(`${this.#directory}/data.mdb`)?.sizeBytes ?? 0;
  }

  async close(): Promise<void> {
    try {
      await this.#db.close();
    } catch (error) {
      // The failure of the last commit once more: its caller has been told.
      if (this.#poisoned === undefined) throw error;
    }
  }
}

/**
 * What LMDB cannot open ends the process when it is a directory or a link to nowhere. Its files are looked at only: closing
 * one would let go of the locks this process holds on it.
 */
function requireFiles(disk: Disk, directory: string): void {
  for (const name of disk.list(directory)) {
    if (!name.endsWith(".mdb")) continue;
    const stat = disk.stat(`${directory}/${name}`);
    if (stat === undefined || stat.isDirectory) throw unreadable(directory, new Error(`${name} is no file`));
  }
}

function unreadable(directory: string, error: unknown): StoreError {
  const message = error instanceof Error ? error.message : String(error);
  return new StoreError("ERR_STORE_CORRUPT", `${directory}: the index cannot be read: ${message}`, {
    context: { path: directory },
    hint: "Run `varve repair`: it rebuilds the index from the packs, and nothing is lost.",
    cause: error,
  });
}
