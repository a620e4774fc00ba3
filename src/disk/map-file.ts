import * as fs from "node:fs";
import { libC, MAP_FAILED } from "./libc.ts";
import { attempt } from "./real-file.ts";

type Map = (sizeBytes: number, fd: number) => ArrayBuffer | undefined;

let known: Map | null | undefined;

const PROT_READ_WRITE = 3;
const MAP_PRIVATE = 2;

/** `mmap` of the C library; `null` where that is out of reach. */
function mapper(): Map | null {
  if (known !== undefined) return known;
  known = null;
  const library = libC();
  if (library === null) return known;
  const mmap = library.func(
    "void *mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)",
  );
  known = (sizeBytes, fd) => {
    const pointer = mmap(null, sizeBytes, PROT_READ_WRITE, MAP_PRIVATE, fd, 0);
    return library.address(pointer) === MAP_FAILED ? undefined : library.view(pointer, sizeBytes);
  };
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
