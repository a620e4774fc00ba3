import type { ByteSource } from "../formats/byte-source.ts";
import { claimedFormat, detectFormat } from "../formats/detect.ts";
import type { TensorSpan } from "../formats/layout.ts";
import { type DescribedFile, readLayout } from "../formats/read-layout.ts";
import type { Disk } from "../src/disk/disk.ts";
import { isStoreError, StoreError } from "../src/errors.ts";
import { VERSION_FILES_MAX } from "../src/limits.ts";
import { storedLayout } from "./optimizer/families.ts";
import { settingsIn } from "./optimizer/settings.ts";
import type { SourceFile } from "./source.ts";

export interface OpenedFile {
  file: SourceFile;
  /** `__metadata__` of a safetensors file; empty for others. */
  metadata: ReadonlyMap<string, string>;
  /** Tensors of this file that lie in others, by those files' places beside it. */
  external?: ReadonlyMap<string, TensorSpan[]>;
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
  const opened = named.map(({ name, path }) => openSourceFile(disk, path, name));
  return describeExternal(opened);
}

/** Gives files that hold another file's tensors (an ONNX model's external data) the layout that one says they have. */
function describeExternal(opened: OpenedFile[]): OpenedFile[] {
  const byName = new Map(opened.map((each) => [each.file.name, each]));
  for (const { file, external } of opened) {
    const directory = file.name.slice(0, file.name.lastIndexOf("/") + 1);
    for (const [place, tensors] of external ?? []) {
      const holder = byName.get(`${directory}${place.replace(/^\.\//, "")}`)?.file;
      if (holder === undefined || holder.kind !== "opaque") continue;
      const spans = withinFile(tensors, holder.sizeBytes);
      if (spans.length === 0) continue;
      holder.kind = "tensors";
      holder.layout = { format: "onnx-data", spans };
    }
  }
  return opened;
}

/** By place, without those that overlap one before them or lie past the end: tensors may share data. */
function withinFile(tensors: TensorSpan[], sizeBytes: number): TensorSpan[] {
  const byPlace = [...tensors].sort((a, b) => a.offset - b.offset || b.sizeBytes - a.sizeBytes);
  let end = 0;
  return byPlace.filter((span) => {
    if (span.offset < end || span.offset + span.sizeBytes > sizeBytes) return false;
    end = span.offset + span.sizeBytes;
    return true;
  });
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
  const handle = disk.open(path, { access: "read" });
  try {
    const sizeBytes = handle.sizeBytes();
    const origin = { path, modifiedMs: disk.stat(path)?.modifiedMs ?? 0 };
    const source: ByteSource = {
      sizeBytes,
      read(offset, bytes) {
        const buffer = Buffer.allocUnsafeSlow(Math.max(0, Math.min(bytes, sizeBytes - offset)));
        return buffer.byteLength === 0 ? buffer : buffer.subarray(0, handle.readSync(buffer, offset));
      },
    };
    const format = detectFormat(name, source.read(0, 16), sizeBytes);
    const described = describe(path, name, () => readLayout(format, source));
    if (described === undefined) {
      return { file: { kind: "opaque", name, sizeBytes, origin }, metadata: new Map() };
    }
    const { metadata, external } = described;
    const layout = storedLayout(described.layout);
    const optimizer = settingsIn(metadata);
    const file: SourceFile =
      layout.spans.length === 0 && format !== "safetensors"
        ? { kind: "opaque", name, sizeBytes, origin }
        : {
            kind: "tensors",
            name,
            sizeBytes,
            layout,
            origin,
            ...(optimizer === undefined ? {} : { optimizer }),
          };
    return { file, metadata, ...(external === undefined ? {} : { external }) };
  } finally {
    handle.close();
  }
}

/** `undefined` for a file that only looked like its format; one whose name claims it must be of it. */
function describe(
  path: string,
  name: string,
  read: () => DescribedFile | undefined,
): DescribedFile | undefined {
  try {
    return read();
  } catch (error) {
    if (!isStoreError(error) || !error.code.startsWith("ERR_FORMAT_")) throw error;
    if (claimedFormat(name) === undefined) return undefined;
    throw new StoreError(error.code, `${path}: ${error.message}`, {
      context: { ...error.context, path },
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      cause: error,
    });
  }
}
