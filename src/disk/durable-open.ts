import * as fs from "node:fs";
import { allocatePages } from "./aligned.ts";
import { type DurableMethod, PAGE_BYTES } from "./disk.ts";
import { attempt, ioError, RealFile } from "./real-file.ts";

/** Flags of each method; `undefined` where the operating system lacks it. */
const METHOD_FLAGS: Record<DurableMethod, number | undefined> = {
  direct: both(fs.constants.O_DIRECT, fs.constants.O_DSYNC),
  dsync: fs.constants.O_DSYNC,
  fdatasync: 0,
};

const METHODS: readonly DurableMethod[] = ["direct", "dsync", "fdatasync"];

function both(first: number | undefined, second: number | undefined): number | undefined {
  return first === undefined || second === undefined ? undefined : first | second;
}

/** The first method each device accepted: asked once, as the answer belongs to the file system. */
const accepted = new Map<bigint, DurableMethod>();

/**
 * Opens a file whose writes are durable when they return. Some file systems refuse O_DIRECT at `open`, others
 * only at the first transfer, so the probe reads one page as well; a refused method falls back to the next.
 */
export function openDurable(path: string, flags: number, wanted: true | DurableMethod): RealFile {
  if (wanted !== true) return new RealFile(path, openWith(path, flags, wanted), wanted);
  // What must be created is created once, before any method is tried.
  fs.closeSync(attempt(path, "open", () => fs.openSync(path, flags, 0o644)));
  const existing = flags & ~(fs.constants.O_CREAT | fs.constants.O_EXCL);
  const device = fs.statSync(path, { bigint: true }).dev;
  const known = accepted.get(device);
  if (known !== undefined) return new RealFile(path, openWith(path, existing, known), known);
  for (const method of METHODS) {
    const fd = METHOD_FLAGS[method] === undefined ? undefined : probe(path, existing, method);
    if (fd === undefined) continue;
    accepted.set(device, method);
    return new RealFile(path, fd, method);
  }
  return new RealFile(path, openWith(path, existing, "fdatasync"), "fdatasync");
}

function openWith(path: string, flags: number, method: DurableMethod): number {
  return attempt(path, `open (${method})`, () =>
    fs.openSync(path, flags | (METHOD_FLAGS[method] ?? 0), 0o644),
  );
}

const REFUSALS = new Set(["EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"]);

function probe(path: string, flags: number, method: DurableMethod): number | undefined {
  let fd: number | undefined;
  try {
    fd = fs.openSync(path, flags | METHOD_FLAGS[method]!);
    fs.readSync(fd, allocatePages(PAGE_BYTES), 0, PAGE_BYTES, 0);
    return fd;
  } catch (error) {
    if (fd !== undefined) fs.closeSync(fd);
    if (REFUSALS.has((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw ioError(error, path, `open (${method})`);
  }
}
