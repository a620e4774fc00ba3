import { libC } from "./libc.ts";

type Reserve = (fd: number, position: number, sizeBytes: number) => Promise<boolean>;

let known: Reserve | undefined;

const KEEP_SIZE = 1;

/** `fallocate` of the C library; where that is out of reach, nothing is reserved. */
function reserver(): Reserve {
  if (known !== undefined) return known;
  known = async () => false;
  const call = libC()?.func("int fallocate64(int fd, int mode, int64_t offset, int64_t length)").async;
  if (call !== undefined) {
    known = (fd, position, sizeBytes) =>
      new Promise((resolve) => {
        call(fd, KEEP_SIZE, position, sizeBytes, (error: unknown, result: number) =>
          resolve(!error && result === 0),
        );
      });
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
