import { createRequire } from "node:module";

/** A function of the C library; `async` calls it on another thread. */
export interface ForeignFunction {
  (...args: unknown[]): unknown;
  async: (...args: unknown[]) => void;
}

/** The C library, and what turns its pointers into memory. */
export interface LibC {
  func(signature: string): ForeignFunction;
  address(pointer: unknown): bigint;
  /** The memory at a pointer as it is: nothing is copied, and nobody frees it. */
  view(pointer: unknown, sizeBytes: number): ArrayBuffer;
}

/** The part of koffi that is used: it is an optional peer. */
interface Koffi extends Omit<LibC, "func"> {
  load(path: string): Pick<LibC, "func">;
}

let known: LibC | null | undefined;

/**
 * The C library by way of koffi; `null` where there is no koffi, or no Linux. Loading it takes a process some
 * milliseconds, so nobody asks before there is a use for it.
 */
export function libC(): LibC | null {
  if (known !== undefined) return known;
  known = null;
  if (process.platform !== "linux") return known;
  try {
    const koffi = createRequire(import.meta.url)("koffi") as Koffi;
    const library = koffi.load("libc.so.6");
    known = {
      func: (signature) => library.func(signature),
      address: (pointer) => koffi.address(pointer),
      view: (pointer, sizeBytes) => koffi.view(pointer, sizeBytes),
    };
  } catch {
    // Not installed, or made for another C library: its users have another way.
  }
  return known;
}

/** What `mmap` returns when it fails. */
export const MAP_FAILED = 0xffff_ffff_ffff_ffffn;
