import { OnnxSkeleton, type Shell, type SkeletonTensor } from "../../formats/onnx/skeleton.ts";
import type { Disk } from "../../src/disk/disk.ts";
import { StoreError } from "../../src/errors.ts";
import { MODEL_BYTES_MAX } from "../../src/limits.ts";
import { nearestNames } from "../../src/names.ts";
import type { Checkpoint } from "../checkpoint.ts";
import type { ModelBytes } from "./messages.ts";
import { type LoadModel, modelFile, readExternal, readModel } from "./model-files.ts";

export interface SkeletonOptions {
  /**
   * An ONNX model of the weights' shape, whose own are replaced: a file's path, its bytes, or a version that holds it
   * (`REF@SELECTOR`; `file` where it has several models).
   */
  skeleton: string | Uint8Array | { version: string; file?: string };
  /**
   * What versions call the skeleton's tensors: a text that goes before their names (`model.`), or names by the
   * skeleton's names. Those that are not named there go by their own.
   */
  tensors?: string | Readonly<Record<string, string>>;
  /** Initializers that versions need not have, or all: these keep the skeleton's own values. Default: none. */
  keep?: true | readonly string[];
}

type SkeletonFrom = SkeletonOptions & { from: string | undefined };

/** Where a skeleton may be. */
export interface SkeletonPlace {
  disk: Disk;
  open(selector: string): Promise<Checkpoint>;
}

/**
 * Reads a skeleton; what comes back puts a version's tensors into it, those of the file `from` where that is named.
 * @throws `ERR_FORMAT_ONNX`; `ERR_NOT_FOUND`; `ERR_INVALID_ARGUMENT` for names the skeleton does not have
 */
export async function skeletonLoader(options: SkeletonFrom, place: SkeletonPlace): Promise<LoadModel> {
  const { bytes, beside } = await readSkeleton(options.skeleton, place);
  const skeleton = new OnnxSkeleton(bytes);
  requireNames(skeleton, options);
  const filling = new Filling(skeleton, options, beside);
  return (checkpoint) => filling.load(checkpoint);
}

interface SkeletonBytes {
  bytes: Uint8Array;
  /** The files beside it, when it is a version. */
  beside: ((locations: readonly string[]) => Promise<ModelBytes["external"]>) | undefined;
}

async function readSkeleton(
  from: SkeletonOptions["skeleton"],
  { disk, open }: SkeletonPlace,
): Promise<SkeletonBytes> {
  if (from instanceof Uint8Array) return { bytes: from.slice(), beside: undefined };
  if (typeof from === "string") return { bytes: await readPath(disk, from), beside: undefined };
  const checkpoint = await open(from.version);
  const file = modelFile(checkpoint, from.file);
  const bytes = await readModel(checkpoint, file);
  const directory = file.name.slice(0, file.name.lastIndexOf("/") + 1);
  const beside = (locations: readonly string[]) =>
    readExternal(
      checkpoint,
      file,
      locations.map((location) => checkpoint.file(`${directory}${location.replace(/^\.\//, "")}`)),
    );
  return { bytes, beside };
}

async function readPath(disk: Disk, path: string): Promise<Uint8Array> {
  const file = disk.open(path, { access: "read" });
  try {
    const sizeBytes = file.sizeBytes();
    if (sizeBytes > MODEL_BYTES_MAX) {
      throw new StoreError("ERR_LIMIT", `${path} has ${sizeBytes} bytes; a skeleton has less than 2 GiB`, {
        context: { path, sizeBytes, limit: MODEL_BYTES_MAX },
        hint: "Export it with external data: the weights come from versions.",
      });
    }
    const bytes = new Uint8Array(sizeBytes);
    const read = await file.read(bytes, 0);
    return bytes.subarray(0, read);
  } finally {
    file.close();
  }
}

function requireNames(skeleton: OnnxSkeleton, { tensors, keep }: SkeletonOptions): void {
  const names = new Set(skeleton.tensors.map(({ name }) => name));
  const named = [
    ...(typeof tensors === "object" ? Object.keys(tensors) : []),
    ...(Array.isArray(keep) ? (keep as string[]) : []),
  ];
  const unknown = named.find((name) => !names.has(name));
  if (unknown === undefined) return;
  const near = nearestNames(unknown, names);
  throw new StoreError("ERR_INVALID_ARGUMENT", `the skeleton has no tensor ${JSON.stringify(unknown)}`, {
    context: { tensor: unknown, nearest: near },
    hint: near.length > 0 ? `Did you mean ${near.join(", ")}?` : "`varve model info` lists its tensors.",
  });
}

/** Puts versions into one skeleton. */
class Filling {
  readonly #skeleton: OnnxSkeleton;
  readonly #options: SkeletonFrom;
  readonly #beside: SkeletonBytes["beside"];
  /** The last version's: those that follow mostly have the same tensors. */
  #last: { key: string; shell: Shell; external: ModelBytes["external"] } | undefined;

  constructor(skeleton: OnnxSkeleton, options: SkeletonFrom, beside: SkeletonBytes["beside"]) {
    this.#skeleton = skeleton;
    this.#options = options;
    this.#beside = beside;
  }

  async load(checkpoint: Checkpoint): Promise<ModelBytes> {
    const replaced = this.#match(checkpoint);
    const { shell, external: kept } = await this.#shell(replaced);
    const model = new Uint8Array(new SharedArrayBuffer(shell.model.byteLength));
    model.set(shell.model);
    const external = [...kept];
    for (const { tensor, at } of shell.places) {
      const { span, file } = replaced.get(tensor)!;
      if (span.sizeBytes === 0) continue;
      const bytes =
        "offset" in at
          ? model.subarray(at.offset, at.offset + span.sizeBytes)
          : new Uint8Array(new SharedArrayBuffer(span.sizeBytes));
      await checkpoint.reader(file).read(span.offset, span.sizeBytes, { bytes });
      if ("location" in at) external.push({ path: at.location, data: bytes });
    }
    return { model, external };
  }

  /** The version's tensors by those of the skeleton whose place they take. */
  #match(checkpoint: Checkpoint): Map<SkeletonTensor, ReturnType<Checkpoint["locate"]>> {
    const { tensors, keep, from } = this.#options;
    const ofFile = checkpoint.tensors.filter(({ file }) => from === undefined || file === from);
    const there = new Set(ofFile.map(({ name }) => name));
    const replaced = new Map<SkeletonTensor, ReturnType<Checkpoint["locate"]>>();
    const missing: string[] = [];
    for (const tensor of this.#skeleton.tensors) {
      const named = typeof tensors === "object" && Object.hasOwn(tensors, tensor.name);
      const name =
        typeof tensors === "string"
          ? `${tensors}${tensor.name}`
          : named
            ? tensors[tensor.name]!
            : tensor.name;
      if (there.has(name)) {
        replaced.set(tensor, fitting(tensor, name, checkpoint, from));
        continue;
      }
      const mayKeep = keep === true || (keep ?? []).includes(tensor.name) || !tensor.isInitializer;
      if (named || !mayKeep) missing.push(name);
    }
    const where = `${checkpoint.ref}@${checkpoint.version}`;
    if (missing.length > 0) throw lacks(where, missing, there);
    if (replaced.size > 0) return replaced;
    throw new StoreError("ERR_CONFLICT", `${where} has none of the skeleton's tensors`, {
      context: { expected: this.#skeleton.tensors.slice(0, 8).map(({ name }) => name) },
      hint: "Say with `tensors` what versions call them.",
    });
  }

  async #shell(
    replaced: ReadonlyMap<SkeletonTensor, unknown>,
  ): Promise<{ shell: Shell; external: ModelBytes["external"] }> {
    const tensors = this.#skeleton.tensors;
    const key = tensors.map((tensor) => (replaced.has(tensor) ? "1" : "0")).join("");
    if (this.#last?.key !== key) {
      const shell = this.#skeleton.shell(new Set(replaced.keys()));
      const locations = tensors.flatMap((tensor) => (replaced.has(tensor) ? [] : (tensor.location ?? [])));
      this.#last = { key, shell, external: await this.#keptData([...new Set(locations)]) };
    }
    return this.#last;
  }

  async #keptData(locations: readonly string[]): Promise<ModelBytes["external"]> {
    if (locations.length === 0) return [];
    if (this.#beside !== undefined) return this.#beside(locations);
    throw new StoreError("ERR_CONFLICT", `tensors that the skeleton keeps lie in ${locations.join(", ")}`, {
      context: { locations },
      hint: "Save the skeleton with its data files, and name it as a version.",
    });
  }
}

/** @throws `ERR_CONFLICT` naming the tensor, what the skeleton takes and what the version has */
function fitting(
  { name, dtype, shape }: SkeletonTensor,
  saved: string,
  checkpoint: Checkpoint,
  from: string | undefined,
): ReturnType<Checkpoint["locate"]> {
  const located = checkpoint.locate(saved, from);
  const { span } = located;
  if (span.dtype === dtype && span.shape.join() === shape.join()) return located;
  const [expected, found] = [`${dtype} [${shape.join(", ")}]`, `${span.dtype} [${span.shape.join(", ")}]`];
  throw new StoreError(
    "ERR_CONFLICT",
    `tensor ${JSON.stringify(name)}: the skeleton takes ${expected}, ${checkpoint.ref}@${checkpoint.version} has ${found} as ${JSON.stringify(saved)}`,
    {
      context: { tensor: name, saved, expected, found },
      hint: "Export the skeleton from the module whose weights these are.",
    },
  );
}

function lacks(where: string, missing: string[], there: ReadonlySet<string>): StoreError {
  const near = nearestNames(missing[0]!, there);
  const list = missing.slice(0, 8).map((name) => JSON.stringify(name));
  const more = missing.length > list.length ? ` and ${missing.length - list.length} more` : "";
  return new StoreError(
    "ERR_CONFLICT",
    `${where} lacks ${list.join(", ")}${more}, which the skeleton takes`,
    {
      context: { missing: missing.slice(0, 64), nearest: near },
      hint: `${near.length > 0 ? `It has ${near.join(", ")}. ` : ""}Say with \`tensors\` what versions call them, or with \`keep\` which stay the skeleton's own.`,
    },
  );
}
