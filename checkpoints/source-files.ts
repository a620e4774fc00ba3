import { claimsSafetensors, detectFormat } from "../formats/detect.ts";
import type { SafetensorsHeader } from "../formats/safetensors/reader.ts";
import { parseHeader, readHeaderLength } from "../formats/safetensors/reader.ts";
import type { Disk } from "../src/disk/disk.ts";
import { isStoreError, StoreError } from "../src/errors.ts";
import { VERSION_FILES_MAX } from "../src/limits.ts";
import { settingsIn } from "./optimizer/settings.ts";
import type { SourceFile } from "./source.ts";

export interface OpenedFile {
  file: SourceFile;
  /** `__metadata__` of a safetensors file; empty for others. */
  metadata: ReadonlyMap<string, string>;
}

/**
 * The files behind the paths of a save, each read as far as its format goes: a malformed file is refused here, before
 * anything is stored. A directory stands for every file in it, named by its path from there.
 */
export function openSourceFiles(disk: Disk, paths: string[]): OpenedFile[] {
  const named = paths.flatMap((path) => expand(disk, path));
  if (named.length === 0) {
    throw new StoreError(
      "ERR_NOT_FOUND",
      `no file to save in ${paths.join(", ") || "an empty list of paths"}`,
      {
        context: { paths },
      },
    );
  }
  const byName = new Map<string, string>();
  for (const { name, path } of named) {
    const other = byName.get(name);
    if (other !== undefined) {
      throw new StoreError(
        "ERR_INVALID_ARGUMENT",
        `${other} and ${path} would both be saved as ${JSON.stringify(name)}`,
        {
          context: { name, paths: [other, path] },
          hint: "Save their common directory instead: its files keep their relative paths.",
        },
      );
    }
    byName.set(name, path);
  }
  return named.map(({ name, path }) => openSourceFile(disk, path, name));
}

function expand(disk: Disk, path: string): { path: string; name: string }[] {
  const stat = disk.stat(path);
  if (stat === undefined) {
    throw new StoreError("ERR_NOT_FOUND", `${path}: no such file or directory`, { context: { path } });
  }
  if (!stat.isDirectory) return [{ path, name: baseName(path) }];
  const found: { path: string; name: string }[] = [];
  const walk = (directory: string, prefix: string) => {
    for (const entry of disk.list(directory)) {
      const inside = `${directory}/${entry}`;
      if (disk.stat(inside)?.isDirectory) walk(inside, `${prefix}${entry}/`);
      else found.push({ path: inside, name: `${prefix}${entry}` });
      if (found.length > VERSION_FILES_MAX) {
        throw new StoreError("ERR_LIMIT", `${path} holds more than ${VERSION_FILES_MAX} files`, {
          context: { path, limit: VERSION_FILES_MAX },
          hint: "Name the checkpoint's own files.",
        });
      }
    }
  };
  walk(path.replace(/\/+$/, ""), "");
  return found;
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function openSourceFile(disk: Disk, path: string, name: string): OpenedFile {
  const file = disk.open(path, { access: "read" });
  try {
    const sizeBytes = file.sizeBytes();
    const origin = { path, modifiedMs: disk.stat(path)?.modifiedMs ?? 0 };
    const read = (bytes: number): Uint8Array => {
      const buffer = Buffer.allocUnsafeSlow(Math.min(bytes, sizeBytes));
      return buffer.subarray(0, file.readSync(buffer, 0));
    };
    const head = read(16);
    if (detectFormat(name, head, sizeBytes) === "safetensors") {
      const header = readSafetensors(path, name, head, sizeBytes, read);
      if (header !== undefined) {
        const { layout, metadata } = header;
        const optimizer = settingsIn(metadata);
        const known = optimizer === undefined ? {} : { optimizer };
        return { file: { kind: "tensors", name, sizeBytes, layout, origin, ...known }, metadata };
      }
    }
    return { file: { kind: "opaque", name, sizeBytes, origin }, metadata: new Map() };
  } finally {
    file.close();
  }
}

/** `undefined` for a file that only looked like safetensors; one that claims to be must be. */
function readSafetensors(
  path: string,
  name: string,
  head: Uint8Array,
  sizeBytes: number,
  read: (bytes: number) => Uint8Array,
): SafetensorsHeader | undefined {
  try {
    return parseHeader(read(8 + readHeaderLength(head, sizeBytes)), sizeBytes);
  } catch (error) {
    if (!isStoreError(error, "ERR_FORMAT_SAFETENSORS")) throw error;
    if (!claimsSafetensors(name)) return undefined;
    throw new StoreError(error.code, `${path}: ${error.message}`, {
      context: { ...error.context, path },
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      cause: error,
    });
  }
}
