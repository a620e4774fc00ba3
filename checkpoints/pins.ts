import { type DType, type Tensor, tensorBytes, tensorFromBytes } from "../formats/tensor.ts";
import { isStoreError, StoreError } from "../src/errors.ts";
import type { ImageTensor } from "../src/images/image-format.ts";
import { Images, type OpenImage } from "../src/images/images.ts";
import { checkName } from "../src/names.ts";
import type { TokenBucket } from "../src/pace/token-bucket.ts";
import type { Engine } from "../src/store.ts";
import { allocateTensors } from "./allocate.ts";
import { eachOf } from "./at-once.ts";
import { Checkpoint } from "./checkpoint.ts";
import type { Registry, VersionRecord } from "./registry.ts";

/** A pinned ref's newest version, ready to be used. */
export interface PinnedModel {
  ref: string;
  version: number;
  /**
   * By name. The memory is this process's own: writing to it changes neither the image nor another process's view, and
   * it lives as long as somebody holds a view of it.
   */
  tensors: Map<string, Tensor>;
  /** `mapped` from the image, `read` from it, or decoded from `chunks` because there was no image yet. */
  source: "mapped" | "read" | "chunks";
  /**
   * Resolves when every byte has been checked; rejects with `ERR_STORE_CORRUPT` when the image turns out damaged: it is
   * then taken away and written again from the chunks, and `pin` gives good tensors.
   */
  verified: Promise<void>;
  /**
   * Resolves when this version has an image, so that the next start maps it; rejects with what writing it failed with, or
   * `ERR_ABORTED` when the store was closed first. A store opened `readOnly` writes none, and this resolves at once.
   */
  imaged: Promise<void>;
}

/** Refs whose newest version is kept as an image, and everything that reads one. */
export class Pins {
  readonly #engine: Engine;
  readonly #registry: Registry;
  readonly #bucket: TokenBucket;
  readonly #images: Images;
  readonly #stop = new AbortController();
  /** By ref: the image being written. */
  readonly #writing = new Map<string, Promise<void>>();
  /** Images in use keep their lock, as their memory may be mapped for as long as the process lives. */
  readonly #held: OpenImage[] = [];
  imagedBytes = 0;

  constructor(engine: Engine, registry: Registry, bucket: TokenBucket) {
    this.#engine = engine;
    this.#registry = registry;
    this.#bucket = bucket;
    this.#images = new Images(engine.disk, `${engine.directory}/images`, engine.storeId);
  }

  async pin(record: VersionRecord): Promise<PinnedModel> {
    const image = this.#open(record);
    if (image !== undefined) {
      const memory = this.#images.map(image);
      if (memory !== undefined) return this.#mapped(record, image, memory);
      const read = await this.#readAll(record, image).finally(() => image.file.close());
      if (read !== undefined) return read;
    }
    return this.#fromChunks(record);
  }

  #open(record: VersionRecord): OpenImage | undefined {
    return this.#images.open(record.ref, record.version, record.manifest);
  }

  #mapped(record: VersionRecord, image: OpenImage, memory: Uint8Array): PinnedModel {
    this.#held.push(image);
    const verified = this.#images.verify(image).catch((error: unknown) => {
      this.#replace(record, image);
      throw error;
    });
    verified.catch(() => {});
    const { ref, version } = record;
    const tensors = tensorsIn(image.head.tensors, memory);
    return { ref, version, tensors, source: "mapped", verified, imaged: Promise.resolve() };
  }

  /** Without a way to map: read into shared memory, checked on the way; `undefined` when it is damaged. */
  async #readAll(record: VersionRecord, image: OpenImage): Promise<PinnedModel | undefined> {
    const { ref, version } = record;
    const { head } = image;
    const specs = Object.fromEntries(
      head.tensors.map(({ dtype, shape }, i) => [String(i), { dtype: dtype as DType, shape }]),
    );
    const allocated = allocateTensors(specs);
    const tensors = new Map(head.tensors.map(({ name }, i) => [name, allocated[String(i)]!]));
    if (!(await this.#fill(record, image, tensors))) return undefined;
    const done = Promise.resolve();
    return { ref, version, tensors, source: "read", verified: done, imaged: done };
  }

  async #fromChunks(record: VersionRecord): Promise<PinnedModel> {
    await this.#engine.openChunks();
    const checkpoint = new Checkpoint(this.#engine, record);
    const wanted = checkpoint.tensors;
    const names = new Set<string>();
    for (const { name } of wanted) {
      if (names.has(name)) throw twice(name);
      names.add(name);
    }
    const read = new Array<[string, Tensor]>(wanted.length);
    await eachOf([...wanted.entries()], async ([i, { name, file }]) => {
      read[i] = [name, await checkpoint.tensor(name, { file })];
    });
    const tensors = new Map(read);
    const imaged = this.update(record.ref);
    imaged.catch(() => {});
    const { ref, version } = record;
    return { ref, version, tensors, source: "chunks", verified: Promise.resolve(), imaged };
  }

  /**
   * Fills tensors from a version's image; `false` when it has none, or not one of all of these tensors, or it is
   * damaged: then they are to be read from the chunks.
   */
  async restore(record: VersionRecord, tensors: ReadonlyMap<string, Tensor>): Promise<boolean> {
    const image = this.#open(record);
    if (image === undefined) return false;
    try {
      return await this.#fill(record, image, tensors);
    } finally {
      image.file.close();
    }
  }

  /** The tensors of a version's image, by name; `undefined` without one, or when a name stands for several. */
  specs(record: VersionRecord): Record<string, { dtype: DType; shape: number[] }> | undefined {
    const image = this.#open(record);
    if (image === undefined) return undefined;
    image.file.close();
    const { tensors } = image.head;
    if (new Set(tensors.map(({ name }) => name)).size < tensors.length) return undefined;
    return Object.fromEntries(
      tensors.map(({ name, dtype, shape }) => [name, { dtype: dtype as DType, shape }]),
    );
  }

  async #fill(
    record: VersionRecord,
    image: OpenImage,
    tensors: ReadonlyMap<string, Tensor>,
  ): Promise<boolean> {
    const parts = [];
    for (const [name, tensor] of tensors) {
      const found = image.head.tensors.filter((each) => each.name === name);
      const [place] = found;
      const target = tensorBytes(tensor, name);
      const fits =
        found.length === 1 && place!.dtype === tensor.dtype && place!.shape.join() === tensor.shape.join();
      if (!fits || !(target.buffer instanceof SharedArrayBuffer)) return false;
      if (target.byteLength > 0) parts.push({ offset: place!.offset, target });
    }
    parts.sort((a, b) => a.offset - b.offset);
    try {
      await this.#images.read(image, parts, this.#engine.pool);
      return true;
    } catch (error) {
      if (!isStoreError(error, "ERR_STORE_CORRUPT")) throw error;
      this.#replace(record, image);
      return false;
    }
  }

  #replace({ ref }: VersionRecord, image: OpenImage): void {
    if (this.#engine.readOnly) return;
    this.#images.discard(image);
    this.update(ref).catch(() => {});
  }

  /** After a save: the image of a pinned ref follows its newest version. */
  follow(ref: string): void {
    try {
      if (this.#images.versions(ref).length > 0) this.update(ref).catch(() => {});
    } catch {
      // An image is a copy: that there is none is seen, and mended, by the next `pin`.
    }
  }

  /** Writes the image of a ref's newest version, within the I/O budget, unless it is there or being written. */
  update(ref: string): Promise<void> {
    const writing = this.#writing.get(ref);
    if (writing !== undefined) return writing.then(() => this.update(ref));
    const work = this.#write(ref).finally(() => this.#writing.delete(ref));
    this.#writing.set(ref, work);
    return work;
  }

  async #write(ref: string): Promise<void> {
    if (this.#engine.readOnly || this.#stop.signal.aborted) return;
    const record = this.#registry.newest(ref);
    if (record === undefined) return;
    const there = this.#open(record);
    if (there !== undefined) {
      there.file.close();
      return;
    }
    await this.#engine.openChunks();
    const checkpoint = new Checkpoint(this.#engine, record);
    const { signal } = this.#stop;
    const sizeBytes = await this.#images.write(ref, {
      storeId: this.#engine.storeId,
      manifest: record.manifest,
      version: record.version,
      tensors: checkpoint.tensors,
      read: async (tensor, from, target) => {
        const { span, file } = checkpoint.locate(tensor.name, tensor.file);
        await checkpoint
          .reader(file)
          .read(span.offset + from, target.byteLength, { bytes: target }, { signal });
      },
      pace: (bytes) => this.#bucket.pace(bytes, signal),
    });
    this.imagedBytes += sizeBytes;
  }

  /** Keeps no image of a ref any more; one that is in use goes when its users have. */
  async unpin(ref: string): Promise<void> {
    checkName("ref", ref);
    await this.#writing.get(ref)?.catch(() => {});
    this.#images.sweep(ref, undefined);
  }

  /** Removes images that were left behind: by killed processes, and by readers that have ended since. */
  sweep(): void {
    this.#images.sweepAll();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled(this.#writing.values());
    for (const { file } of this.#held.splice(0)) file.close();
  }
}

function tensorsIn(places: ImageTensor[], memory: Uint8Array): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  for (const { name, dtype, shape, offset, sizeBytes } of places) {
    if (tensors.has(name)) throw twice(name);
    tensors.set(
      name,
      tensorFromBytes(dtype as DType, shape, memory.subarray(offset, offset + sizeBytes), name),
    );
  }
  return tensors;
}

function twice(name: string): StoreError {
  return new StoreError(
    "ERR_INVALID_ARGUMENT",
    `several files of the version have a tensor ${JSON.stringify(name)}`,
    {
      context: { tensor: name },
      hint: "Open the version and read each tensor by its file.",
    },
  );
}
