import type { TensorSpan } from "../formats/layout.ts";
import { type DType, type Tensor, tensorBytes, tensorFromBytes } from "../formats/tensor.ts";
import { StoreError } from "../src/errors.ts";
import { nearestNames } from "../src/names.ts";
import type { Engine } from "../src/store.ts";
import { FileReader, type ReadOptions } from "./file-reader.ts";
import type { Manifest, ManifestFile } from "./manifest-format.ts";
import { readManifest } from "./manifest-reader.ts";
import type { VersionRecord } from "./registry.ts";

export interface TensorInfo {
  name: string;
  /** The file of the version that holds it. */
  file: string;
  dtype: DType;
  shape: number[];
  sizeBytes: number;
}

interface Located {
  span: TensorSpan;
  file: ManifestFile;
}

/**
 * An open version. Opening reads its manifest alone; tensors are read when asked for, each by itself.
 */
export class Checkpoint {
  readonly record: VersionRecord;
  readonly manifest: Manifest;
  readonly #engine: Engine;
  readonly #readers = new Map<ManifestFile, FileReader>();

  constructor(engine: Engine, record: VersionRecord) {
    this.#engine = engine;
    this.record = record;
    this.manifest = readManifest(engine.chunks, record.manifest);
  }

  get ref(): string {
    return this.record.ref;
  }

  get version(): number {
    return this.record.version;
  }

  get step(): number | undefined {
    return this.record.step;
  }

  get metrics(): Record<string, number> {
    return this.record.metrics;
  }

  get metadata(): Record<string, string> {
    return this.record.metadata;
  }

  /** The version's files, without the resume blob. */
  get files(): ManifestFile[] {
    return this.manifest.files.filter((file) => file.kind !== "resume");
  }

  /** Every tensor, in file order. */
  get tensors(): TensorInfo[] {
    return this.files.flatMap((file) =>
      (file.layout?.spans ?? []).map(({ name, dtype, shape, sizeBytes }) => ({
        name,
        file: file.name,
        dtype,
        shape: [...shape],
        sizeBytes,
      })),
    );
  }

  /**
   * Reads one tensor into memory of its own (shared memory, so that worker threads fill it).
   * @param file which file's tensor is meant, when several have one of this name
   * @throws `ERR_NOT_FOUND` with the nearest names; `ERR_STORE_CORRUPT`
   */
  async tensor(name: string, options: ReadOptions & { file?: string } = {}): Promise<Tensor> {
    const { span, file } = this.locate(name, options.file);
    const bytes = new Uint8Array(new SharedArrayBuffer(span.sizeBytes));
    await this.reader(file).read(span.offset, span.sizeBytes, { bytes }, options);
    return tensorFromBytes(span.dtype, span.shape, bytes, name);
  }

  /**
   * Reads one tensor into memory that is there already; dtype and shape must be the saved ones.
   * @throws `ERR_CONFLICT` when they are not; `ERR_NOT_FOUND`; `ERR_STORE_CORRUPT`
   */
  async tensorInto(
    name: string,
    target: Tensor,
    options: ReadOptions & { file?: string } = {},
  ): Promise<void> {
    const { span } = this.requireFit(name, target, options.file);
    return this.rangeInto(name, target, { from: 0, to: span.sizeBytes }, options);
  }

  /** Reads a range of a tensor's bytes to its place in `target`, which must fit as for `tensorInto`. */
  async rangeInto(
    name: string,
    target: Tensor,
    { from, to }: { from: number; to: number },
    options: ReadOptions & { file?: string } = {},
  ): Promise<void> {
    const { span, file, bytes } = this.requireFit(name, target, options.file);
    const reader = this.reader(file);
    if (bytes.buffer instanceof SharedArrayBuffer) {
      return reader.read(span.offset + from, to - from, { bytes: bytes.subarray(from, to) }, options);
    }
    // Workers cannot reach this memory: through a window of shared memory, then copied.
    const window = new Uint8Array(new SharedArrayBuffer(Math.min(WINDOW_BYTES, to - from)));
    for (let at = from; at < to; at += window.byteLength) {
      const stretch = window.subarray(0, Math.min(window.byteLength, to - at));
      await reader.read(span.offset + at, stretch.byteLength, { bytes: stretch }, options);
      bytes.set(stretch, at);
    }
  }

  /** Where a tensor lies, once `target` is known to have its dtype and shape, and the target's memory. */
  requireFit(name: string, target: Tensor, fileName?: string): Located & { bytes: Uint8Array } {
    const { span, file } = this.locate(name, fileName);
    const bytes = tensorBytes(target, name);
    if (target.dtype !== span.dtype || target.shape.join() !== span.shape.join()) {
      throw new StoreError(
        "ERR_CONFLICT",
        `tensor ${JSON.stringify(name)} was saved as ${span.dtype} [${span.shape}], not as ${target.dtype} [${target.shape}]`,
        { context: { tensor: name }, hint: "Restore into a model of the same shape." },
      );
    }
    return { span, file, bytes };
  }

  /** The blob saved as `resume`, or `undefined`. */
  async resume(): Promise<Uint8Array | undefined> {
    const file = this.manifest.files.find((each) => each.kind === "resume");
    if (file === undefined) return undefined;
    const bytes = new Uint8Array(new SharedArrayBuffer(file.sizeBytes));
    await this.reader(file).read(0, file.sizeBytes, { bytes });
    return new Uint8Array(bytes);
  }

  /** Where a tensor of a file lies, or that of this name when there is only one; `undefined` without one. */
  find(name: string, fileName: string): Located | undefined {
    const found = this.files.flatMap((file) => {
      const span = file.layout?.spans.find((each) => each.name === name);
      return span === undefined ? [] : [{ span, file }];
    });
    return found.find(({ file }) => file.name === fileName) ?? (found.length === 1 ? found[0] : undefined);
  }

  /** @throws `ERR_NOT_FOUND`; `ERR_INVALID_ARGUMENT` when several files have such a tensor and none is named. */
  locate(name: string, fileName?: string): Located {
    const found: Located[] = [];
    for (const file of this.files) {
      if (fileName !== undefined && file.name !== fileName) continue;
      const span = file.layout?.spans.find((each) => each.name === name);
      if (span !== undefined) found.push({ span, file });
    }
    const [first, second] = found;
    if (first !== undefined && second === undefined) return first;
    const where = `${this.ref}@${this.version}`;
    if (first === undefined) {
      const near = nearestNames(name, new Set(this.tensors.map((tensor) => tensor.name)));
      throw new StoreError("ERR_NOT_FOUND", `${where} has no tensor ${JSON.stringify(name)}`, {
        context: { tensor: name, file: fileName, nearest: near },
        hint:
          near.length > 0 ? `Did you mean ${near.join(", ")}?` : `\`varve show ${where}\` lists its tensors.`,
      });
    }
    const files = found.map((each) => each.file.name);
    throw new StoreError(
      "ERR_INVALID_ARGUMENT",
      `${where} has a tensor ${JSON.stringify(name)} in ${files.join(" and ")}`,
      {
        context: { tensor: name, files },
        hint: "Name the file as well.",
      },
    );
  }

  /** @throws `ERR_NOT_FOUND` with the names there are. */
  file(name: string): ManifestFile {
    const file = this.files.find((each) => each.name === name);
    if (file !== undefined) return file;
    const names = this.files.map((each) => each.name);
    const near = nearestNames(name, names);
    throw new StoreError("ERR_NOT_FOUND", `${this.ref}@${this.version} has no file ${JSON.stringify(name)}`, {
      context: { file: name, nearest: near },
      hint: `It has ${(near.length > 0 ? near : names.slice(0, 3)).join(", ")}.`,
    });
  }

  reader(file: ManifestFile): FileReader {
    let reader = this.#readers.get(file);
    if (reader === undefined) {
      reader = new FileReader(this.#engine, file);
      this.#readers.set(file, reader);
    }
    return reader;
  }
}

/** Shared memory through which tensors that are not shared are filled: a few jobs' worth. */
const WINDOW_BYTES = 8 << 20;
