import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { tryLockFile, unlockFile } from "../../src/disk/file-locks.ts";

const library = createRequire(import.meta.url)("fs-native-extensions") as {
  tryLock(fd: number, offset: number, length: number, options: { shared: boolean }): boolean;
  unlock(fd: number, offset: number, length: number): void;
};

let directory: string;
let files: number[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "varve-locks-"));
  files = [1, 2].map(() => openSync(join(directory, "lock"), "w+"));
});
afterEach(() => {
  for (const file of files) closeSync(file);
  rmSync(directory, { recursive: true });
});

it("takes the very lock that the package's own call takes", () => {
  const [one, two] = files as [number, number];
  expect(tryLockFile(one, "exclusive")).toBe(true);
  expect(library.tryLock(two, 0, 0, { shared: true })).toBe(false);
  unlockFile(one);
  expect(library.tryLock(two, 0, 0, { shared: true })).toBe(true);
  expect(tryLockFile(one, "exclusive")).toBe(false);
  expect(tryLockFile(one, "shared")).toBe(true);
  library.unlock(two, 0, 0);
  unlockFile(one);
  expect(tryLockFile(one, "exclusive")).toBe(true);
});
