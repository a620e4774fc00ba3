import * as fs from "node:fs";
import { promisify } from "node:util";
import { invariant } from "../assert.ts";
import { StoreError } from "../errors.ts";
import { checkAligned } from "./aligned.ts";
import type { DiskFile, DurableMethod, FileMap } from "./disk.ts";
import { lockFile, tryLockFile, unlockFile } from "./file-locks.ts";
import { reserveSpace } from "./reserve-space.ts";
import { SharedMap } from "./shared-map.ts";

const readAsync = promisify(fs.read);
const writeAsync = promisify(fs.write);
const syncAsync = promisify(fs.fdatasync);
const readVectorAsync = promisify(fs.readv);

/** Turns an operating system's error into one of ours; the path is always named. */
export function ioError(error: unknown, path: string, action: string): StoreError {
  const cause = error as NodeJS.ErrnoException;
  const context = { path, action, errno: cause.code };
  switch (cause.code) {
    case "ENOENT":
      return new StoreError("ERR_NOT_FOUND", `${action} ${path}: no such file`, { cause, context });
    case "EEXIST":
      return new StoreError("ERR_EXISTS", `${action} ${path}: it exists already`, { cause, context });
    case "ENOSPC":
    case "EDQUOT":
    case "EFBIG":
      return diskFull(path, action, cause);
    default:
      return new StoreError("ERR_IO", `${action} ${path}: ${cause.message}`, { cause, context });
  }
}

function diskFull(path: string, action: string, cause: unknown): StoreError {
  return new StoreError("ERR_DISK_FULL", `${action} ${path}: the disk is full`, {
    cause,
    context: { path, action },
    retryable: true,
    hint: "Free some space (varve gc, varve prune) and try again; what was durable before is untouched.",
  });
}

export function attempt<T>(path: string, action: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw ioError(error, path, action);
  }
}

function openAside(path: string): number | null {
  const { O_RDWR, O_DIRECT } = fs.constants;
  if (O_DIRECT === undefined) return null;
  try {
    return fs.openSync(path, O_RDWR | O_DIRECT);
  } catch {
    return null;
  }
}

export class RealFile implements DiskFile {
  readonly path: string;
  readonly durability: DurableMethod | undefined;
  readonly #fd: number;
  #open = true;
  /** The same file for writes around the page cache; `null` where there is no such thing. */
  #asideFd: number | null | undefined;
  #map: SharedMap | undefined;

  constructor(path: string, fd: number, durability?: DurableMethod) {
    this.path = path;
    this.#fd = fd;
    this.durability = durability;
  }

  sizeBytes(): number {
    return attempt(this.path, "stat", () => fs.fstatSync(this.#fd).size);
  }

  readSync(target: Uint8Array, position: number): number {
    let done = 0;
    while (done < target.byteLength) {
      const count = attempt(this.path, "read", () =>
        fs.readSync(this.#fd, target, done, target.byteLength - done, position + done),
      );
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    let done = 0;
    while (done < target.byteLength) {
      let count: number;
      try {
        ({ bytesRead: count } = await readAsync(
          this.#fd,
          target,
          done,
          target.byteLength - done,
          position + done,
        ));
      } catch (error) {
        throw ioError(error, this.path, "read");
      }
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  async readVector(targets: readonly Uint8Array[], position: number): Promise<number> {
    let left = targets.filter((target) => target.byteLength > 0);
    let done = 0;
    while (left.length > 0) {
      let count: number;
      try {
        ({ bytesRead: count } = await readVectorAsync(this.#fd, left, position + done));
      } catch (error) {
        throw ioError(error, this.path, "read");
      }
      if (count === 0) break;
      done += count;
      left = after(left, count);
    }
    return done;
  }

  writeSync(source: Uint8Array, position: number): void {
    if (this.durability !== undefined) checkAligned(this.path, source, position);
    let done = 0;
    while (done < source.byteLength) {
      const count = attempt(this.path, "write", () =>
        fs.writeSync(this.#fd, source, done, source.byteLength - done, position + done),
      );
      if (count === 0) throw diskFull(this.path, "write", undefined);
      done += count;
    }
    if (this.durability === "fdatasync") this.syncSync();
  }

  async write(source: Uint8Array, position: number, options: { aside?: boolean } = {}): Promise<void> {
    if (this.durability !== undefined) checkAligned(this.path, source, position);
    let done = options.aside ? await this.#writeAside(source, position) : 0;
    while (done < source.byteLength) {
      let count: number;
      try {
        ({ bytesWritten: count } = await writeAsync(
          this.#fd,
          source,
          done,
          source.byteLength - done,
          position + done,
        ));
      } catch (error) {
        throw ioError(error, this.path, "write");
      }
      if (count === 0) throw diskFull(this.path, "write", undefined);
      done += count;
    }
    if (this.durability === "fdatasync") await this.sync();
  }

  /**
   * Writes with O_DIRECT what it can, and says how much that was: whatever it could not (a file system that has no such
   * writes, a full disk) is left to an ordinary write, which succeeds or says why not.
   */
  async #writeAside(source: Uint8Array, position: number): Promise<number> {
    checkAligned(this.path, source, position);
    if (this.#asideFd === undefined) this.#asideFd = openAside(this.path);
    if (this.#asideFd === null) return 0;
    try {
      const { bytesWritten } = await writeAsync(this.#asideFd, source, 0, source.byteLength, position);
      return bytesWritten;
    } catch {
      return 0;
    }
  }

  syncSync(): void {
    attempt(this.path, "sync", () => fs.fdatasyncSync(this.#fd));
    this.#map?.forget();
  }

  async sync(): Promise<void> {
    try {
      await syncAsync(this.#fd);
    } catch (error) {
      throw ioError(error, this.path, "sync");
    }
    this.#map?.forget();
  }

  map(position: number, end: number): FileMap | undefined {
    this.#map?.close();
    this.#map = SharedMap.open(this.#fd, this.path, position, end);
    return this.#map;
  }

  readyToMap(): boolean {
    return SharedMap.ready();
  }

  truncate(sizeBytes: number): void {
    invariant(this.#map === undefined || this.#map.closed, "a mapped file is not truncated");
    attempt(this.path, "truncate", () => fs.ftruncateSync(this.#fd, sizeBytes));
  }

  reserve(position: number, sizeBytes: number): Promise<boolean> {
    return reserveSpace(this.#fd, position, sizeBytes);
  }

  tryLock(mode: "shared" | "exclusive"): boolean {
    return attempt(this.path, "lock", () => tryLockFile(this.#fd, mode));
  }

  async lock(mode: "shared" | "exclusive"): Promise<void> {
    try {
      await lockFile(this.#fd, mode);
    } catch (error) {
      throw ioError(error, this.path, "lock");
    }
  }

  unlock(): void {
    attempt(this.path, "unlock", () => unlockFile(this.#fd));
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#map?.close();
    if (typeof this.#asideFd === "number") fs.closeSync(this.#asideFd);
    attempt(this.path, "close", () => fs.closeSync(this.#fd));
  }
}

/** What is left to fill once `sizeBytes` are filled. */
function after(targets: Uint8Array[], sizeBytes: number): Uint8Array[] {
  let filled = sizeBytes;
  let first = 0;
  while (first < targets.length && targets[first]!.byteLength <= filled)
    filled -= targets[first++]!.byteLength;
  const [next, ...rest] = targets.slice(first);
  return next === undefined ? [] : [next.subarray(filled), ...rest];
}
