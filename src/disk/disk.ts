/**
 * The only way to the disk for store files. Two implementations pass one conformance suite: the real disk and
 * the simulated one, which knows what each sector holds after a power cut.
 *
 * Metadata calls (open, rename, list…) are synchronous: they take microseconds. Bulk reads, writes and syncs come
 * in both forms; the synchronous ones serve workers and the commit path, where a thread hop costs more than
 * the call.
 *
 * What is durable: bytes after `sync`, a name (created, renamed, removed) after `syncDirectory` of its directory.
 */
export interface Disk {
  /** `real` or `simulated`, for reports. */
  readonly kind: string;
  /** Opens a file. `ERR_NOT_FOUND` when it does not exist and may not be created, `ERR_EXISTS` with `create: "must"`. */
  open(path: string, options: OpenOptions): DiskFile;
  /** Size and identity, or `undefined` when there is no such file. */
  stat(path: string): FileStat | undefined;
  /** The names in a directory, sorted; an absent directory is empty. */
  list(directory: string): string[];
  /** Creates a directory and its parents; existing is fine. */
  makeDirectory(path: string): void;
  /** Atomically gives `from` the name `to`, replacing what was there. */
  rename(from: string, to: string): void;
  /** Removes a file; absent is fine. */
  remove(path: string): void;
  /** Makes names in a directory durable. */
  syncDirectory(path: string): void;
  /** The same off the caller's thread. */
  syncDirectoryAsync(path: string): Promise<void>;
  /** Bytes a write may still take on the file system that holds `path`, or `undefined` when it does not tell. */
  freeBytes(path: string): number | undefined;
  /** For a disk that measures: told of a durable write that another thread has made past it. */
  noteDurableWrite?(write: DurableWrite): void;
}

/** A write that was durable when it returned. */
export interface DurableWrite {
  /** The file, or its directory with a slash at the end. */
  path: string;
  sizeBytes: number;
  /** How long it took on the thread that made it. */
  us: number;
}

export interface OpenOptions {
  access: "read" | "write";
  /** `never` (default): must exist. `must`: must not exist. `may`: either. */
  create?: "never" | "must" | "may";
  /**
   * Each write is durable when it returns: what the commit path uses. Positions and lengths are then multiples of
   * `PAGE_BYTES` and the memory comes from `allocatePages`. `true` takes the fastest method the file system
   * accepts, a name demands that one. Reads of such a file need the same alignment.
   */
  durable?: boolean | DurableMethod;
}

/**
 * How a write becomes durable, fastest first: `direct` is O_DIRECT with O_DSYNC (one device write, no copy),
 * `dsync` O_DSYNC through the page cache, `fdatasync` a write followed by fdatasync.
 */
export type DurableMethod = "direct" | "dsync" | "fdatasync";

/** Alignment and granularity of durable writes. */
export const PAGE_BYTES = 4096;

export interface FileStat {
  sizeBytes: number;
  /** Bytes the file takes on the device (holes take none). */
  deviceBytes: number;
  isDirectory: boolean;
  /** Neither a directory nor a pipe, a socket or a device. */
  isFile: boolean;
  modifiedMs: number;
  device: bigint;
  inode: bigint;
  /** Nanoseconds; 0n where the file system does not record it. */
  bornNs: bigint;
}

/**
 * Part of a file as memory. What is put there is in the page cache when the call returns, as after a write: a killed
 * process loses none of it, others read it from the file, and a sync of the file makes it durable. The file must not be
 * truncated while the map lives.
 */
export interface FileMap {
  /** Where it ends in the file. */
  readonly end: number;
  /**
   * Copies the first `sizeBytes` that `source` shows to `position` of the file, at or after where the last call ended.
   * `false`, and nothing was copied, when the system cannot provide the page: to be written instead, which says why not.
   */
  put(source: DataView, sizeBytes: number, position: number): boolean;
  close(): void;
}

export interface DiskFile {
  readonly path: string;
  /** How each write becomes durable; `undefined` for a file that is durable only after `sync`. */
  readonly durability: DurableMethod | undefined;
  sizeBytes(): number;
  /** Fills `target` from `position`; returns the bytes read, fewer only at the end of the file. */
  readSync(target: Uint8Array, position: number): number;
  read(target: Uint8Array, position: number): Promise<number>;
  /**
   * Fills `targets`, at most 1,024 (what the system takes in one call, IOV_MAX), one after the other from one stretch of
   * the file, with as few calls as `read` makes for one; returns the bytes read.
   */
  readVector(targets: readonly Uint8Array[], position: number): Promise<number>;
  /**
   * Writes all of `source` at `position` or throws: a short count, which is how a full disk first shows, is
   * followed up until it is whole or an error tells why not. `ERR_DISK_FULL`, `ERR_IO`.
   */
  writeSync(source: Uint8Array, position: number): void;
  /**
   * With `aside`, bytes that will not be read soon may go around the page cache, where the system allows: then position,
   * length and the memory's address are multiples of `PAGE_BYTES`. Not durable before `sync` either.
   */
  write(source: Uint8Array, position: number, options?: { aside?: boolean }): Promise<void>;
  /** Makes written bytes (and the size needed to read them) durable. A failure is final: never retried. */
  syncSync(): void;
  sync(): Promise<void>;
  truncate(sizeBytes: number): void;
  /** For files on striped devices: bulk writes had better end at multiples of this. */
  readonly stripeBytes?: number | undefined;
  /**
   * Reserves space on the device; the size stays as it is. What lies beyond the size is freed by `truncate` or when the
   * file is removed. `false` when that cannot be done: what is not reserved is found as it is written.
   */
  reserve?(position: number, sizeBytes: number): Promise<boolean>;
  /**
   * The bytes from `position` to at least `end` as memory that is the file. They are reserved on the device first, and
   * the file's size becomes the map's `end`; one map a file. `undefined`, and nothing has changed but perhaps the size,
   * where that cannot be: another system, a file system that does not overwrite in place, a full disk.
   */
  map?(position: number, end: number): FileMap | undefined;
  /**
   * Whether `map` has at hand what it needs. Where it would have to be loaded first, which takes milliseconds once a
   * process, asking begins that in a turn of its own. Without this method it always has.
   */
  readyToMap?(): boolean;
  /**
   * A lock the kernel holds for this open file and frees the instant the process dies. `exclusive` needs write
   * access. Locks are advisory and belong to the open file: two opens in one process exclude each other.
   */
  tryLock(mode: "shared" | "exclusive"): boolean;
  lock(mode: "shared" | "exclusive"): Promise<void>;
  unlock(): void;
  close(): void;
}
