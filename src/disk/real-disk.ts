import * as fs from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";
import type { Disk, DiskFile, FileStat, OpenOptions } from "./disk.ts";
import { openDurable } from "./durable-open.ts";
import { attempt, ioError, RealFile } from "./real-file.ts";

const openAsync = promisify(fs.open);
const fsyncAsync = promisify(fs.fsync);

const CREATE_FLAGS = {
  never: 0,
  may: fs.constants.O_CREAT,
  must: fs.constants.O_CREAT | fs.constants.O_EXCL,
} as const;

/** Node's own way of making parents never returns where a file system says of every new name that it is not found (/proc). */
function makeDirectories(path: string): void {
  if (fs.statSync(path, { throwIfNoEntry: false })?.isDirectory()) return;
  try {
    fs.mkdirSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST" && fs.statSync(path, { throwIfNoEntry: false })?.isDirectory()) return;
    const above = dirname(path);
    if (code !== "ENOENT" || above === path || fs.existsSync(above)) throw error;
    makeDirectories(above);
    makeDirectories(path);
  }
}

class RealDisk implements Disk {
  readonly kind = "real";

  open(path: string, options: OpenOptions): DiskFile {
    const access = options.access === "read" ? fs.constants.O_RDONLY : fs.constants.O_RDWR;
    const flags = access | CREATE_FLAGS[options.create ?? "never"];
    if (options.durable) return openDurable(path, flags, options.durable);
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
      isFile: stat.isFile(),
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
    attempt(path, "create directory", () => makeDirectories(path));
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

  async syncDirectoryAsync(path: string): Promise<void> {
    try {
      const directory = await openAsync(path, fs.constants.O_RDONLY);
      try {
        await fsyncAsync(directory);
      } finally {
        fs.closeSync(directory);
      }
    } catch (error) {
      throw ioError(error, path, "sync directory");
    }
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
