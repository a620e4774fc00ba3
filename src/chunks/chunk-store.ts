import { loadCodec } from "../codec/codec.ts";
import type { Disk, DiskFile } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import { ASIDE_BYTES_MIN } from "../limits.ts";
import type { WorkerPool } from "../workers/pool.ts";
import type { ChunkIndex } from "./chunk-index.ts";
import { ChunkReader } from "./chunk-reader.ts";
import type { ChunkSave } from "./chunk-save.ts";
import { type DecodeRequest, decodeJob } from "./decode.job.ts";
import { DIGEST_BYTES } from "./digest.ts";
import { lockGc } from "./gc-lock.ts";
import { type ChunkPlace, forgetJobContext, registerJobContext } from "./job-context.ts";
import { PackDirectory } from "./pack-directory.ts";
import { type RecompressedChunk, type RecompressRequest, recompressJob } from "./recompress.job.ts";

export interface ChunkStoreOptions {
  disk: Disk;
  /** The store's `chunks` directory. */
  directory: string;
  storeId: Uint8Array;
  pool: WorkerPool;
  readOnly: boolean;
  /** Opens the index; given by the caller so that tests and repair can bring their own. */
  openIndex: (place: ChunkPlace) => Promise<ChunkIndex>;
  nowUs: () => bigint;
}

/**
 * Content-addressed chunks in packs. Many processes read and save at once: each saver appends to a pack of its own,
 * the index orders what they add, and a shared lock, held from a save's first look-up until its ref has moved, keeps
 * gc from removing what the save counts on.
 */
export class ChunkStore {
  readonly place: ChunkPlace;
  readonly reader: ChunkReader;
  readonly packs: PackDirectory;
  /** Memory for runs that workers encode, kept from save to save. */
  readonly runs: ArrayBuffer[] = [];
  readonly #options: ChunkStoreOptions;

  private constructor(options: ChunkStoreOptions, place: ChunkPlace, reader: ChunkReader) {
    this.#options = options;
    this.place = place;
    this.reader = reader;
    this.packs = new PackDirectory(options.disk, place.packsDirectory, options.storeId, options.nowUs);
  }

  static async open(options: ChunkStoreOptions): Promise<ChunkStore> {
    const place = chunkPlace(options.directory);
    if (!options.readOnly) options.disk.makeDirectory(place.packsDirectory);
    // Its kernels are compiled by other threads meanwhile.
    loadCodec().catch(() => {});
    const index = await options.openIndex(place);
    const reader = await ChunkReader.open(options.disk, place.packsDirectory, index);
    if (options.pool.inline) registerJobContext(place, { disk: options.disk, reader });
    return new ChunkStore(options, place, reader);
  }

  get index(): ChunkIndex {
    return this.reader.index;
  }

  /** The chunk's raw bytes, checked against its digest; for the small chunks that describe others. */
  read(digest: Uint8Array): Uint8Array {
    return this.reader.read(digest);
  }

  /** Decodes a run of chunks on the worker pool, into shared memory or a file; once more when the worker dies. */
  decode(
    chunks: readonly { digest: Uint8Array; rawBytes: number }[],
    target: DecodeRequest["target"],
  ): Promise<void> {
    const digests = new Uint8Array(chunks.length * DIGEST_BYTES);
    for (const [i, { digest }] of chunks.entries()) digests.set(digest, i * DIGEST_BYTES);
    const sizes = chunks.map(({ rawBytes }) => rawBytes);
    const request: DecodeRequest = { place: this.place, digests, sizes, target };
    return this.#options.pool.runAgain(decodeJob, request);
  }

  /** Encodes chunks that are stored once more, on the worker pool: see recompress.ts. */
  recompressed(digests: Uint8Array[]): Promise<RecompressedChunk[]> {
    return this.#options.pool.run(recompressJob, { place: this.place, digests } satisfies RecompressRequest);
  }

  /**
   * Begins a save: from here until its `end`, gc removes nothing it finds. One that stores up to `ASIDE_BYTES_MIN` bytes or more
   * goes around the page cache.
   */
  async beginSave(profile: "fast" | "compact", rawBytes = 0): Promise<ChunkSave> {
    const lock = await this.lockGc("shared");
    try {
      this.index.refresh();
      const { ChunkSave } = await import("./chunk-save.ts");
      return new ChunkSave(this, this.#options.pool, await loadCodec(), {
        profile,
        lock,
        aside: rawBytes >= ASIDE_BYTES_MIN,
      });
    } catch (error) {
      lock.close();
      throw error;
    }
  }

  /** The lock between saves (shared) and the sweep (exclusive); closing the file frees it. */
  lockGc(mode: "shared" | "exclusive"): Promise<DiskFile> {
    if (this.#options.readOnly) throw readOnly();
    return lockGc(this.#options.disk, this.#options.directory, mode);
  }

  async close(): Promise<void> {
    await this.packs.close();
    forgetJobContext(this.place);
    this.reader.close();
    await this.index.close();
  }
}

export function chunkPlace(directory: string): ChunkPlace {
  return { packsDirectory: `${directory}/packs`, indexDirectory: `${directory}/index` };
}

function readOnly(): StoreError {
  return new StoreError("ERR_INVALID_ARGUMENT", "the store was opened read-only", {
    hint: "Open it without `readOnly` to change it.",
  });
}
