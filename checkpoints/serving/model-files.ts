import { StoreError } from "../../src/errors.ts";
import { MODEL_BYTES_MAX, MODEL_EXTERNAL_BYTES_MAX } from "../../src/limits.ts";
import type { Checkpoint } from "../checkpoint.ts";
import type { ManifestFile } from "../manifest-format.ts";
import type { ModelBytes } from "./messages.ts";

/** Makes of a version what a session is built from. */
export type LoadModel = (checkpoint: Checkpoint) => Promise<ModelBytes>;

/** A version's ONNX file, and the files that hold its external data. */
export async function loadModelFiles(checkpoint: Checkpoint, fileName?: string): Promise<ModelBytes> {
  const file = modelFile(checkpoint, fileName);
  const model = await readModel(checkpoint, file);
  const external = checkpoint.files.filter(({ layout }) => layout?.format === "onnx-data");
  return { model, external: await readExternal(checkpoint, file, external) };
}

export async function readModel(checkpoint: Checkpoint, file: ManifestFile): Promise<Uint8Array> {
  if (file.sizeBytes > MODEL_BYTES_MAX) throw tooLarge(file, MODEL_BYTES_MAX);
  return readFile(checkpoint, file);
}

/** Files beside a model, by the places the model may name them by. */
export async function readExternal(
  checkpoint: Checkpoint,
  model: ManifestFile,
  files: readonly ManifestFile[],
): Promise<ModelBytes["external"]> {
  const directory = model.name.slice(0, model.name.lastIndexOf("/") + 1);
  const external: ModelBytes["external"] = [];
  for (const file of files) {
    if (!file.name.startsWith(directory)) continue;
    if (file.sizeBytes > MODEL_EXTERNAL_BYTES_MAX) throw tooLarge(file, MODEL_EXTERNAL_BYTES_MAX);
    // The runtime compares places as paths: `./weights` is `weights`.
    external.push({ path: file.name.slice(directory.length), data: await readFile(checkpoint, file) });
  }
  return external;
}

/** @throws `ERR_INVALID_ARGUMENT` when it must be named; `ERR_NOT_FOUND` */
export function modelFile(checkpoint: Checkpoint, name?: string): ManifestFile {
  if (name !== undefined) return checkpoint.file(name);
  const models = checkpoint.files.filter((file) => file.name.toLowerCase().endsWith(".onnx"));
  if (models.length === 1) return models[0]!;
  const { ref, version } = checkpoint;
  throw new StoreError("ERR_INVALID_ARGUMENT", `${ref}@${version} has ${models.length} ONNX files`, {
    hint:
      models.length > 0
        ? "Name the model's file."
        : "Weights saved as plain tensors are served through a skeleton: an ONNX model of their shape.",
  });
}

/** A file's bytes, in memory that threads can read. */
async function readFile(checkpoint: Checkpoint, file: ManifestFile): Promise<Uint8Array> {
  const bytes = new Uint8Array(new SharedArrayBuffer(file.sizeBytes));
  await checkpoint.reader(file).read(0, file.sizeBytes, { bytes });
  return bytes;
}

function tooLarge({ name, sizeBytes }: ManifestFile, limit: number): StoreError {
  return new StoreError("ERR_LIMIT", `${name} has ${sizeBytes} bytes, which is more than can be served`, {
    context: { file: name, sizeBytes, limit },
    hint: "Export the model with external data, in files of less than 4 GiB.",
  });
}
