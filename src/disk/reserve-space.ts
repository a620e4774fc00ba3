import { createRequire } from "node:module";

type Reserve = (fd: number, position: number, sizeBytes: number) => Promise<boolean>;

/** The part of koffi that is used: it is an optional peer. */
interface Koffi {
  load(path: string): { func(signature: string): { async: (...args: unknown[]) => void } };
}

let known: Reserve | undefined;

const KEEP_SIZE = 1;

/** `fallocate` of the C library, by way of koffi; where there is none, nothing is reserved. */
function reserver(): Reserve {
  if (known !== undefined) return known;
  known = async () => false;
  if (process.platform !== "linux") return known;
  try {
    const koffi = createRequire(import.meta.url)("koffi") as Koffi;
    const call = koffi
      .load("libc.so.6")
      .func("int fallocate64(int fd, int mode, int64_t offset, int64_t length)").async;
    known = (fd, position, sizeBytes) =>
      new Promise((resolve) => {
        call(fd, KEEP_SIZE, position, sizeBytes, (error: unknown, result: number) =>
          resolve(!error && result === 0),
        );
      });
  } catch {
    // Not installed, or made for another C library: files grow as they are written.
  }
  return known;
}

/**
 * Reserves space of an open file on its device, off the caller's thread, without changing its size. `false` where that
 * cannot be: another system, a file system without it, a full disk.
 */
export function reserveSpace(fd: number, position: number, sizeBytes: number): Promise<boolean> {
  return reserver()(fd, position, sizeBytes);
}
