import { dirname, join, resolve } from "node:path";
import { planFile } from "../formats/safetensors/writer.ts";
import { SyncAlong } from "../src/disk/sync-along.ts";
import { StoreError } from "../src/errors.ts";
import type { Engine } from "../src/store.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { ManifestFile } from "./manifest-format.ts";
import type { Progress } from "./save.ts";

export interface RestoreFilesOptions {
  /** A file when one file is restored, else a directory; an existing directory, or a trailing `/`, is a directory. */
  out: string;
  /** Restore this file of the version alone. */
  file?: string;
  /** Write a safetensors file of these tensors alone. */
  tensors?: string[];
  /** Replace files that exist. */
  force?: boolean;
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

export interface RestoredFiles {
  ref: string;
  version: number;
  files: { name: string; path: string; sizeBytes: number }[];
  bytes: number;
  durationMs: number;
}

/** A file to write: its bytes come in pieces, each at its place. */
interface Output {
  name: string;
  path: string;
  sizeBytes: number;
  write(temporary: string, onBytes: (bytes: number) => void): Promise<void>;
}

/**
 * Writes a version's files. Each is written under another name, synced, and renamed when it is whole and verified:
 * an interrupted restore leaves no half file behind.
 * @throws `ERR_EXISTS` before anything is written, unless `force`.
 */
export async function restoreFiles(
  engine: Engine,
  checkpoint: Checkpoint,
  options: RestoreFilesOptions,
): Promise<RestoredFiles> {
  const startMs = performance.now();
  const outputs = planOutputs(engine, checkpoint, options);
  if (!options.force) refuseExisting(engine, outputs);
  const totalBytes = outputs.reduce((sum, output) => sum + output.sizeBytes, 0);
  let doneBytes = 0;
  for (const output of outputs) {
    await writeWhole(engine, output, (bytes) => {
      doneBytes += bytes;
      options.onProgress?.({ doneBytes, totalBytes });
    });
  }
  const files = outputs.map(({ name, path, sizeBytes }) => ({ name, path, sizeBytes }));
  const durationMs = Math.round(performance.now() - startMs);
  return { ref: checkpoint.ref, version: checkpoint.version, files, bytes: totalBytes, durationMs };
}

function planOutputs(engine: Engine, checkpoint: Checkpoint, options: RestoreFilesOptions): Output[] {
  const { out, signal } = options;
  const isDirectory = out.endsWith("/") || engine.disk.stat(out)?.isDirectory === true;
  if (options.tensors !== undefined && options.tensors.length > 0) {
    const path = isDirectory ? join(out, `${checkpoint.ref.replaceAll("/", "-")}.safetensors`) : out;
    return [tensorsOutput(engine, checkpoint, { ...options, tensors: options.tensors, path })];
  }
  const files = options.file === undefined ? checkpoint.files : [checkpoint.file(options.file)];
  const toOutput = (file: ManifestFile, path: string): Output => ({
    name: file.name,
    path,
    sizeBytes: file.sizeBytes,
    write: (temporary, onBytes) =>
      checkpoint.reader(file).read(0, file.sizeBytes, { path: temporary, offset: 0 }, { signal, onBytes }),
  });
  const [only] = files;
  if (files.length === 1 && !isDirectory) return [toOutput(only!, out)];
  return files.map((file) => toOutput(file, inside(out, file.name)));
}

/** A file's place under the output directory; a name that would lead out of it is refused. */
function inside(out: string, name: string): string {
  const root = resolve(out);
  const path = resolve(root, name);
  if (name.includes("\0") || !path.startsWith(root === "/" ? "/" : `${root}/`)) {
    throw new StoreError(
      "ERR_INVALID_ARGUMENT",
      `the file name ${JSON.stringify(name)} leads out of ${out}`,
      {
        context: { file: name, out },
        hint: "Restore it by itself: --file NAME --out FILE.",
      },
    );
  }
  return join(out, name);
}

function tensorsOutput(
  engine: Engine,
  checkpoint: Checkpoint,
  { tensors, file, path, signal }: RestoreFilesOptions & { tensors: string[]; path: string },
): Output {
  const located = new Map([...new Set(tensors)].map((name) => [name, checkpoint.locate(name, file)]));
  const descriptions = [...located].map(([name, { span }]) => ({
    name,
    dtype: span.dtype,
    shape: span.shape,
  }));
  const { header, layout, sizeBytes } = planFile(descriptions);
  return {
    name: path.slice(path.lastIndexOf("/") + 1),
    path,
    sizeBytes,
    async write(temporary, onBytes) {
      const handle = engine.disk.open(temporary, { access: "write" });
      try {
        await handle.write(header, 0);
        onBytes(header.byteLength);
      } finally {
        handle.close();
      }
      for (const { name, offset } of layout.spans) {
        const { span, file: source } = located.get(name)!;
        const target = { path: temporary, offset };
        await checkpoint.reader(source).read(span.offset, span.sizeBytes, target, { signal, onBytes });
      }
    },
  };
}

function refuseExisting(engine: Engine, outputs: Output[]): void {
  const existing = outputs.filter(({ path }) => engine.disk.stat(path) !== undefined).map(({ path }) => path);
  if (existing.length === 0) return;
  const more = existing.length > 1 ? ` and ${existing.length - 1} more` : "";
  throw new StoreError("ERR_EXISTS", `${existing[0]}${more} exists already`, {
    context: { paths: existing },
    hint: "Choose another place, or replace what is there with --force.",
  });
}

async function writeWhole(engine: Engine, output: Output, onBytes: (bytes: number) => void): Promise<void> {
  const { disk } = engine;
  const directory = dirname(output.path);
  disk.makeDirectory(directory);
  const temporary = `${output.path}.varve-${crypto.randomUUID().slice(0, 8)}`;
  const handle = disk.open(temporary, { access: "write", create: "must" });
  const syncing = new SyncAlong(handle);
  try {
    handle.truncate(output.sizeBytes);
    await output.write(temporary, (bytes) => {
      syncing.wrote(bytes);
      onBytes(bytes);
    });
    await syncing.end();
    handle.close();
    disk.rename(temporary, output.path);
    disk.syncDirectory(directory);
  } catch (error) {
    await syncing.settle();
    handle.close();
    disk.remove(temporary);
    throw error;
  }
}
