import { createRequire } from "node:module";

/** The package that locks files, and the part of the native module within it that is used directly. */
const PACKAGE = "fs-native-extensions";

interface Locks {
  tryLock(fd: number, offset: number, length: number, options: { shared: boolean }): boolean;
  waitForLock(fd: number, offset: number, length: number, options: { shared: boolean }): Promise<void>;
  unlock(fd: number, offset: number, length: number): void;
}

/** Throws EAGAIN where another one holds the lock. */
interface NativeLocks {
  tryLock(fd: number, offset: number, length: number, exclusive: boolean): void;
  unlock(fd: number, offset: number, length: number): void;
}

const require = createRequire(import.meta.url);
let loaded: Locks | undefined;
let native: NativeLocks | null | undefined;

/** Loaded on first use: a process that only reads sealed data never pays for it. */
function locks(): Locks {
  loaded ??= require(PACKAGE) as Locks;
  return loaded;
}

/**
 * What the package would load after asking for it under some fifty names, which takes longer than all else that opens a
 * store. `null` where it lies elsewhere or does not load: then the package finds another one, or says what is wrong.
 */
function nativeLocks(): NativeLocks | null {
  if (native !== undefined) return native;
  try {
    const path = `${PACKAGE}/prebuilds/${process.platform}-${process.arch}/${PACKAGE}.node`;
    native = require(path) as NativeLocks;
  } catch {
    native = null;
  }
  return native;
}

/** Locks the whole file, shared or alone, unless another opening of it holds it. The kernel frees it with the process. */
export function tryLockFile(fd: number, mode: "shared" | "exclusive"): boolean {
  const direct = nativeLocks();
  if (direct === null) return locks().tryLock(fd, 0, 0, { shared: mode === "shared" });
  try {
    direct.tryLock(fd, 0, 0, mode === "exclusive");
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EAGAIN") return false;
    throw error;
  }
}

/** The same, but waits until it is free, off this thread. */
export function lockFile(fd: number, mode: "shared" | "exclusive"): Promise<void> {
  return locks().waitForLock(fd, 0, 0, { shared: mode === "shared" });
}

export function unlockFile(fd: number): void {
  const direct = nativeLocks();
  if (direct === null) locks().unlock(fd, 0, 0);
  else direct.unlock(fd, 0, 0);
}
