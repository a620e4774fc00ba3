import * as fs from "node:fs";
import { createRequire } from "node:module";
import { attempt } from "./real-file.ts";

/** The part of koffi that is used: it is an optional peer and has to be there only for mapping. */
interface Koffi {
  load(path: string): { func(signature: string): (...args: unknown[]) => unknown };
  address(pointer: unknown): bigint;
  view(pointer: unknown, sizeBytes: number): ArrayBuffer;
}

type Map = (sizeBytes: number, fd: number) => ArrayBuffer | undefined;

let known: Map | null | undefined;

const PROT_READ_WRITE = 3;
const MAP_PRIVATE = 2;
const FAILED = 0xffff_ffff_ffff_ffffn;

/** `mmap` of the C library, by way of koffi; `null` where there is no koffi, or no Linux. */
function mapper(): Map | null {
  if (known !== undefined) return known;
  known = null;
  if (process.platform !== "linux") return known;
  try {
    const koffi = createRequire(import.meta.url)("koffi") as Koffi;
    const mmap = koffi
      .load("libc.so.6")
      .func("void *mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)");
    known = (sizeBytes, fd) => {
      const pointer = mmap(null, sizeBytes, PROT_READ_WRITE, MAP_PRIVATE, fd, 0);
      return koffi.address(pointer) === FAILED ? undefined : koffi.view(pointer, sizeBytes);
    };
  } catch {
    // Not installed, or made for another C library: files are read instead.
  }
  return known;
}

/**
 * A whole file as memory, without reading it: pages come in when they are touched. `undefined` where that cannot be.
 *
 * The mapping is private: writing to it changes this process's copy of a page and never the file, so that no write can
 * end the process. It is never undone, as nobody can tell when the last view of it is gone. The file must never be
 * truncated or written while it may be mapped.
 */
export function mapFile(path: string, sizeBytes: number): ArrayBuffer | undefined {
  const map = mapper();
  if (map === null || sizeBytes === 0) return undefined;
  const fd = attempt(path, "open", () => fs.openSync(path, fs.constants.O_RDONLY));
  try {
    return map(sizeBytes, fd);
  } finally {
    fs.closeSync(fd);
  }
}
