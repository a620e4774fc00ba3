import * as fs from "node:fs";
import { createRequire } from "node:module";
import { promisify } from "node:util";
import { StoreError } from "../errors.ts";
import type { Disk, DiskFile, FileStat, OpenOptions } from "./disk.ts";

const readAsync = promisify(fs.read);
const writeAsync = promisify(fs.write);
const syncAsync = promisify(fs.fdatasync);

/** Turns an operating system's error into one of ours; the path is always named. */
function ioError(error: unknown, path: string, action: string): StoreError {
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

function attempt<T>(path: string, action: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw ioError(error, path, action);
  }
}

interface Locks {
  tryLock(fd: number, offset: number, length: number, options: { shared: boolean }): boolean;
  waitForLock(fd: number, offset: number, length: number, options: { shared: boolean }): Promise<void>;
  unlock(fd: number, offset: number, length: number): void;
}

let loadedLocks: Locks | undefined;

/** Loaded on first use: a process that only reads sealed data never pays for it. */
function locks(): Locks {
  loadedLocks ??= createRequire(import.meta.url)("fs-native-extensions") as Locks;
  return loadedLocks;
}

class RealFile implements DiskFile {
  readonly path: string;
  readonly #fd: number;
  #open = true;

  constructor(path: string, fd: number) {
    this.path = path;
    this.#fd = fd;
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

  writeSync(source: Uint8Array, position: number): void {
    let done = 0;
    while (done < source.byteLength) {
      const count = attempt(this.path, "write", () =>
        fs.writeSync(this.#fd, source, done, source.byteLength - done, position + done),
      );
      if (count === 0) throw diskFull(this.path, "write", undefined);
      done += count;
    }
  }

  async write(source: Uint8Array, position: number): Promise<void> {
    let done = 0;
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
  }

  syncSync(): void {
    attempt(this.path, "sync", () => fs.fdatasyncSync(this.#fd));
  }

  async sync(): Promise<void> {
    try {
      await syncAsync(this.#fd);
    } catch (error) {
      throw ioError(error, this.path, "sync");
    }
  }

  truncate(sizeBytes: number): void {
    attempt(this.path, "truncate", () => fs.ftruncateSync(this.#fd, sizeBytes));
  }

  tryLock(mode: "shared" | "exclusive"): boolean {
    return attempt(this.path, "lock", () => locks().tryLock(this.#fd, 0, 0, { shared: mode === "shared" }));
  }

  async lock(mode: "shared" | "exclusive"): Promise<void> {
    try {
      await locks().waitForLock(this.#fd, 0, 0, { shared: mode === "shared" });
    } catch (error) {
      throw ioError(error, this.path, "lock");
    }
  }

  unlock(): void {
    attempt(this.path, "unlock", () => locks().unlock(this.#fd, 0, 0));
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    attempt(this.path, "close", () => fs.closeSync(this.#fd));
  }
}

const CREATE_FLAGS = {
  never: 0,
  may: fs.constants.O_CREAT,
  must: fs.constants.O_CREAT | fs.constants.O_EXCL,
} as const;

class RealDisk implements Disk {
  readonly kind = "real";

  open(path: string, options: OpenOptions): DiskFile {
    const access = options.access === "read" ? fs.constants.O_RDONLY : fs.constants.O_RDWR;
    const flags = access | CREATE_FLAGS[options.create ?? "never"];
    return new RealFile(
      path,
      attempt(path, "open", () => fs.openSync(path, flags, 0o644)),
    );
  }

  stat(path: string): FileStat | undefined {
    const stat = attempt(path, "stat", () => fs.statSync(path, { bigint: true, throwIfNoEntry: false }));
    if (stat === undefined) return undefined;
    return {
      sizeBytes: Number(stat.size),
      deviceBytes: Number(stat.blocks) * 512,
      isDirectory: stat.isDirectory(),
      modifiedMs: Number(stat.mtimeMs),
      device: stat.dev,
      inode: stat.ino,
      bornNs: stat.birthtimeNs,
    };
  }

  list(directory: string): string[] {
    try {
      return fs.readdirSync(directory).sort();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw ioError(error, directory, "list");
    }
  }

  makeDirectory(path: string): void {
    attempt(path, "create directory", () => fs.mkdirSync(path, { recursive: true }));
  }

  rename(from: string, to: string): void {
    attempt(from, `rename to ${to}:`, () => fs.renameSync(from, to));
  }

  remove(path: string): void {
    attempt(path, "remove", () => fs.rmSync(path, { force: true }));
  }

  syncDirectory(path: string): void {
    attempt(path, "sync directory", () => {
      const fd = fs.openSync(path, fs.constants.O_RDONLY);
      try {
        fs.fsyncSync(fd);
      } finally {
        fs.closeSync(fd);
      }
    });
  }

  freeBytes(path: string): number | undefined {
    try {
      const { bavail, bsize } = fs.statfsSync(path);
      return bavail * bsize;
    } catch {
      return undefined;
    }
  }
}

/** The operating system's file system. */
export const realDisk: Disk = new RealDisk();
