import { createHash, randomBytes } from "node:crypto";
import { basename, dirname } from "node:path";
import { allocatePages, pageMemoryOf } from "../disk/aligned.ts";
import { removeUnclaimed } from "../disk/claimed-file.ts";
import type { Disk, DiskFile } from "../disk/disk.ts";
import { makeDurableDirectory } from "../disk/durable-directory.ts";
import { mapFile } from "../disk/map-file.ts";
import { isStoreError } from "../errors.ts";
import { RangeSums } from "../kernels/range-sum.ts";
import { isThreadEnd, type WorkerPool } from "../workers/pool.ts";
import type { ImageHead } from "./image-format.ts";
import { readHead, requireSum, verifyRanges } from "./image-reader.ts";
import { type ImageToWrite, sweepUnfinished, writeImage } from "./image-writer.ts";
import { type ImagePart, placeRange, rangeTarget, readImageJob } from "./read-image.job.ts";

/** An image that is in use: its file is locked, so that nobody removes it. */
export interface OpenImage {
  path: string;
  head: ImageHead;
  file: DiskFile;
}

export const IMAGE_SUFFIX = ".image";
/** The hash of a ref, and a version. */
const IMAGE_NAME = /^([0-9a-f]{32}-)(\d{1,15})\.image$/;

/** The images of a store, one a pinned ref: `images/REF_HASH-VERSION.image`. */
export class Images {
  readonly directory: string;
  readonly #disk: Disk;
  readonly #storeId: Uint8Array;

  constructor(disk: Disk, directory: string, storeId: Uint8Array) {
    this.#disk = disk;
    this.directory = directory;
    this.#storeId = storeId;
  }

  /** The versions of a ref that have images, newest first: usually one. */
  versions(ref: string): number[] {
    const wanted = `${hashOf(ref)}-`;
    const found = this.#disk.list(this.directory).flatMap((name) => {
      const [, prefix, version] = IMAGE_NAME.exec(name) ?? [];
      return prefix === wanted ? [Number(version)] : [];
    });
    return found.sort((a, b) => b - a);
  }

  #path(ref: string, version: number): string {
    return `${this.directory}/${hashOf(ref)}-${version}${IMAGE_SUFFIX}`;
  }

  /** Opens a version's image and locks it; `undefined` when there is none, or what is there is not its image. */
  open(ref: string, version: number, manifest: Uint8Array): OpenImage | undefined {
    const path = this.#path(ref, version);
    if (this.#disk.stat(path)?.isFile !== true) return undefined;
    let file: DiskFile | undefined;
    try {
      file = this.#disk.open(path, { access: "read" });
      file.tryLock("shared");
      const head = readHead(file, this.#storeId);
      if (head.version === version && Buffer.compare(head.manifest, manifest) === 0)
        return { path, head, file };
    } catch (error) {
      // An image is a copy: whatever it cannot be read for, the chunks can.
      if (!isStoreError(error)) {
        file?.close();
        throw error;
      }
    }
    file?.close();
    return undefined;
  }

  /** Writes a version's image; the ref's other images go once nobody reads them. Returns the file's size. */
  async write(ref: string, image: ImageToWrite): Promise<number> {
    makeDurableDirectory(this.#disk, this.directory);
    sweepUnfinished(this.#disk, this.directory);
    const path = this.#path(ref, image.version);
    if (this.#disk.stat(path)?.isFile === false) this.#setAside(path);
    const sizeBytes = await writeImage(this.#disk, path, image);
    this.sweep(ref, image.version);
    return sizeBytes;
  }

  /** Removes a ref's images but the one of version `keep`, as far as nobody reads them. */
  sweep(ref: string, keep: number | undefined): void {
    for (const version of this.versions(ref)) {
      if (version !== keep) this.#removeUnread(this.#path(ref, version));
    }
  }

  /**
   * Removes what nobody needs any more: unfinished images of killed processes, and of each ref all but its newest one, as
   * far as nobody reads them.
   */
  sweepAll(): void {
    sweepUnfinished(this.#disk, this.directory);
    const newest = new Map<string, number>();
    const found = this.#disk.list(this.directory).flatMap((name) => {
      const [, prefix, version] = IMAGE_NAME.exec(name) ?? [];
      if (prefix === undefined) return [];
      newest.set(prefix, Math.max(newest.get(prefix) ?? 0, Number(version)));
      return [{ name, prefix, version: Number(version) }];
    });
    for (const { name, prefix, version } of found) {
      if (version < newest.get(prefix)!) this.#removeUnread(`${this.directory}/${name}`);
    }
  }

  #removeUnread(path: string): void {
    try {
      if (this.#disk.stat(path)?.isFile === true) removeUnclaimed(this.#disk, path);
      else this.#setAside(path);
    } catch (error) {
      if (!isStoreError(error)) throw error;
    }
  }

  /** Moves what is no image, and nobody's to remove, from an image's place to the store's quarantine. */
  #setAside(path: string): void {
    const quarantine = `${dirname(this.directory)}/quarantine`;
    this.#disk.makeDirectory(quarantine);
    this.#disk.rename(path, `${quarantine}/${basename(path)}-${randomBytes(4).toString("hex")}`);
  }

  /** Takes a damaged image out of the way; what maps it keeps its memory. */
  discard({ path }: Pick<OpenImage, "path">): void {
    this.#disk.remove(path);
  }

  /** The image as memory, where files can be mapped. */
  map({ path, head }: OpenImage): Uint8Array | undefined {
    if (this.#disk.kind !== "real") return undefined;
    const memory = mapFile(path, head.dataOffset + head.dataBytes);
    return memory === undefined ? undefined : new Uint8Array(memory, head.dataOffset, head.dataBytes);
  }

  /** Checks every range. @throws `ERR_STORE_CORRUPT` */
  verify({ path, head }: OpenImage): Promise<void> {
    return verifyRanges(this.#disk, path, head);
  }

  /** The same by the system's I/O threads; this one checks a range at a time, a quarter of a millisecond each. */
  async #readHere({ path, head }: Pick<OpenImage, "path" | "head">, parts: ImagePart[]): Promise<void> {
    const sums = await RangeSums.load();
    const file = this.#disk.open(path, { access: "read" });
    let next = 0;
    const work = async () => {
      const scratch = allocatePages(head.rangeBytes, { shared: true });
      for (let range = next++; range < head.checksums.length; range = next++) {
        await readRange(file, head, range, { parts, sums, scratch });
      }
    };
    const done = await Promise.allSettled(Array.from({ length: READS_AT_ONCE }, work));
    file.close();
    const failed = done.find((each) => each.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  /** Fills shared memory with parts of an image, each range checked. @throws `ERR_STORE_CORRUPT` */
  async read({ path, head }: OpenImage, wanted: ImagePart[], pool: WorkerPool): Promise<void> {
    const parts = wanted.map((part) => ({ ...part, memory: pageMemoryOf(part.target.buffer) }));
    const { checksums, dataOffset, dataBytes, rangeBytes } = head;
    if (!pool.started && dataBytes <= READ_HERE_BYTES_MAX) return this.#readHere({ path, head }, parts);
    const asked = { path, head: { checksums, dataOffset, dataBytes, rangeBytes }, parts };
    const read = () => {
      const request = { ...asked, next: new Int32Array(new SharedArrayBuffer(4)) };
      return pool.broadcast(readImageJob, pool.inline ? { ...request, disk: this.#disk } : request);
    };
    await read().catch((error: unknown) => {
      // What the thread that died had taken nobody has read: all of it once more.
      if (isThreadEnd(error)) return read();
      throw error;
    });
  }
}

/** Reading and checking this much takes about as long as starting threads does. */
const READ_HERE_BYTES_MAX = 128 << 20;
/** Reads in flight: the system's I/O threads. */
const READS_AT_ONCE = 4;

async function readRange(
  file: DiskFile,
  head: ImageHead,
  range: number,
  { parts, sums, scratch }: { parts: ImagePart[]; sums: RangeSums; scratch: Uint8Array },
): Promise<void> {
  const found = rangeTarget(head, parts, range, scratch);
  if (found === undefined) return;
  await file.read(found.bytes, head.dataOffset + range * head.rangeBytes);
  requireSum(file.path, head, range, sums.sum(found.bytes, found.memory));
  placeRange(found, range * head.rangeBytes);
}

/** A ref may hold what no file name can. */
function hashOf(ref: string): string {
  return createHash("sha256").update(ref).digest("hex").slice(0, 32);
}
