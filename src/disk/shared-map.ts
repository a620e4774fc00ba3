import * as fs from "node:fs";
import { invariant } from "../assert.ts";
import { type FileMap, PAGE_BYTES } from "./disk.ts";
import { type ForeignFunction, type LibC, libC, MAP_FAILED } from "./libc.ts";

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const MADV_POPULATE_WRITE = 23;

/**
 * File systems that overwrite in place what was reserved once, by the number `statfs` gives them (ext2 to ext4, XFS,
 * tmpfs). On others a page that was written back may need new room, and a full disk would end the process.
 */
const IN_PLACE = new Set([0xef53, 0x5846_5342, 0x0102_1994]);

/** Up to this many bytes a loop copies faster than a call that has to look at both arrays first. */
const LOOP_BYTES = 512;

interface Calls {
  library: LibC;
  mmap: ForeignFunction;
  munmap: ForeignFunction;
  madvise: ForeignFunction;
  fallocate: ForeignFunction;
}

let known: Calls | null | undefined;
let askedMs: number | undefined;

/** Who asks again so long after, and what was begun has not come: a caller who never lets the event loop turn. */
const NO_TURN_MS = 100;

function calls(): Calls | null {
  if (known !== undefined) return known;
  const library = libC();
  known = library && {
    library,
    mmap: library.func("void *mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)"),
    // By number: whoever holds a pointer would keep a name for memory that is gone.
    munmap: library.func("int munmap(uintptr_t addr, size_t length)"),
    madvise: library.func("int madvise(uintptr_t addr, size_t length, int advice)"),
    fallocate: library.func("int fallocate64(int fd, int mode, int64_t offset, int64_t length)"),
  };
  return known;
}

function load(): void {
  try {
    calls();
  } catch {
    // A C library that lacks one of them.
    known = null;
  }
}

/**
 * A part of a file, shared with the page cache: a store to it is a write that costs no system call.
 *
 * What could end the process is a store to a page that the system cannot provide. So the whole part is reserved on the
 * device before it is mapped; nobody may truncate the file while the map lives; and every page is asked for with a call
 * that can fail (MADV_POPULATE_WRITE, Linux 5.14) before the first store to it, and again after each sync: a page that
 * is on the device may be taken from memory, and to be read back.
 */
export class SharedMap implements FileMap {
  readonly end: number;
  readonly #calls: Calls;
  readonly #address: number;
  readonly #start: number;
  readonly #sizeBytes: number;
  #memory: DataView | undefined;
  /** Before this place the pages are there. */
  #ready = 0;

  private constructor(
    calls: Calls,
    place: { address: number; start: number; sizeBytes: number },
    memory: DataView,
  ) {
    this.#calls = calls;
    this.#address = place.address;
    this.#start = place.start;
    this.#sizeBytes = place.sizeBytes;
    this.end = place.start + place.sizeBytes;
    this.#memory = memory;
  }

  /** @see DiskFile.readyToMap */
  static ready(): boolean {
    if (known !== undefined) return true;
    const nowMs = performance.now();
    if (askedMs === undefined) setImmediate(load).unref();
    askedMs ??= nowMs;
    return nowMs - askedMs > NO_TURN_MS;
  }

  /** @see DiskFile.map */
  static open(fd: number, path: string, position: number, end: number): SharedMap | undefined {
    const found = calls();
    if (found === null || !overwritesInPlace(path)) return undefined;
    const start = Math.floor(position / PAGE_BYTES) * PAGE_BYTES;
    const sizeBytes = Math.ceil(end / PAGE_BYTES) * PAGE_BYTES - start;
    if (found.fallocate(fd, 0, start, sizeBytes) !== 0) return undefined;
    const pointer = found.mmap(null, sizeBytes, PROT_READ_WRITE, MAP_SHARED, fd, start);
    const address = found.library.address(pointer);
    if (address === MAP_FAILED) return undefined;
    const memory = new DataView(found.library.view(pointer, sizeBytes));
    const map = new SharedMap(found, { address: Number(address), start, sizeBytes }, memory);
    if (map.#prepare(position - start, position - start + 1)) return map;
    // A system before Linux 5.14.
    map.close();
    return undefined;
  }

  put(source: DataView, sizeBytes: number, position: number): boolean {
    const target = this.#memory;
    const at = position - this.#start;
    const end = at + sizeBytes;
    invariant(target !== undefined && at >= 0 && end <= this.#sizeBytes, "bytes are put within a live map");
    if (end > this.#ready && !this.#prepare(at, end)) return false;
    if (sizeBytes > LOOP_BYTES) {
      const copied = new Uint8Array(source.buffer, source.byteOffset, sizeBytes);
      new Uint8Array(target.buffer, at, sizeBytes).set(copied);
      return true;
    }
    let done = 0;
    for (; done + 4 <= sizeBytes; done += 4) target.setInt32(at + done, source.getInt32(done, true), true);
    for (; done < sizeBytes; done++) target.setUint8(at + done, source.getUint8(done));
    return true;
  }

  get closed(): boolean {
    return this.#memory === undefined;
  }

  /** The pages may be gone from memory: what is put next asks for them again. */
  forget(): void {
    this.#ready = 0;
  }

  #prepare(at: number, end: number): boolean {
    const from = Math.floor(at / PAGE_BYTES) * PAGE_BYTES;
    const to = Math.ceil(end / PAGE_BYTES) * PAGE_BYTES;
    if (this.#calls.madvise(this.#address + from, to - from, MADV_POPULATE_WRITE) !== 0) return false;
    this.#ready = to;
    return true;
  }

  close(): void {
    if (this.#memory === undefined) return;
    // The only view of it goes first: a store to memory that is no longer mapped would end the process.
    this.#memory = undefined;
    // Giving back a megabyte takes up to a millisecond: not the caller's.
    this.#calls.munmap.async(this.#address, this.#sizeBytes, () => {});
  }
}

function overwritesInPlace(path: string): boolean {
  try {
    return IN_PLACE.has(fs.statfsSync(path).type);
  } catch {
    return false;
  }
}
