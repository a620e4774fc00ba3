import * as fs from "node:fs";
import { attempt } from "./real-file.ts";

/** A directory by a path of a few characters, for calls that take no long ones; `close` ends that path. */
export interface ShortPath {
  readonly path: string;
  close(): void;
}

/**
 * Linux names every open file in /proc: a directory held open has a short path, however long its own is. `undefined`
 * where the system has no such names.
 *
 * @throws ERR_NOT_FOUND when there is no such directory
 */
export function shortPath(directory: string): ShortPath | undefined {
  const { O_RDONLY, O_DIRECTORY = 0 } = fs.constants;
  const fd = attempt(directory, "open", () => fs.openSync(directory, O_RDONLY | O_DIRECTORY));
  const path = `/proc/self/fd/${fd}`;
  if (fs.existsSync(path)) return { path, close: () => fs.closeSync(fd) };
  fs.closeSync(fd);
  return undefined;
}
