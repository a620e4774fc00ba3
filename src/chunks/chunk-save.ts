import { invariant } from "../assert.ts";
import { type Codec, RAW_ENCODING } from "../codec/codec.ts";
import { type Element, elementCode } from "../codec/element.ts";
import { applyPatch, PATCH_ID } from "../codec/encodings/patch.ts";
import type { DiskFile } from "../disk/disk.ts";
import { CHUNK_BYTES_MAX, JOB_BYTES, PATCH_DEPTH_MAX } from "../limits.ts";
import type { WorkerPool } from "../workers/pool.ts";
import type { ChunkEntry } from "./chunk-index.ts";
import type { ChunkStore } from "./chunk-store.ts";
import { type CutRequest, cutJob } from "./cut.job.ts";
import { decodableEntries } from "./decodable.ts";
import { digestKey, digestOf } from "./digest.ts";
import {
  type ChunkSource,
  type ChunkToEncode,
  type EncodedChunk,
  type EncodedRun,
  type EncodeRequest,
  encodeJob,
} from "./encode.job.ts";
import { encodeChunk } from "./encode-chunk.ts";
import type { PackScan } from "./pack-scan.ts";
import type { FrameToWrite, PackWriter } from "./pack-writer.ts";
import { patchCostKiB, restoreCostKiB } from "./restore-cost.ts";

/** Buffers of a job's size kept for the next jobs: as many as a save has in flight on a few cores. */
const OUTPUTS_MAX = 8;

interface CurrentPack {
  writer: PackWriter;
  /** Where the pack ended when its last durable state was reached: a failed save is cut back to here. */
  startBytes: number;
  startFrames: number;
  /** The file is new, and its name is not durable yet. */
  isNew: boolean;
}

/** A chunk of which only what differs from another one is at hand. */
export interface PatchedChunk {
  digest: Uint8Array;
  rawBytes: number;
  element: Element;
  base: Uint8Array;
  payload: Uint8Array;
}

/**
 * One save's chunks on their way to the disk.
 *
 * The order is what makes it safe: frames are written, `commit` syncs them (and the pack's name), then the index
 * learns of them; the caller moves its ref after that, and calls `end`. A crash anywhere before leaves frames that
 * nothing names, which the next saver or gc takes care of.
 */
export class ChunkSave {
  /** Bytes appended to packs so far: frames with headers, and the pack's own header when the save began one. */
  storedBytes = 0;
  newChunks = 0;
  readonly #store: ChunkStore;
  readonly #pool: WorkerPool;
  readonly #codec: Codec;
  readonly #profile: "fast" | "compact";
  readonly #lock: DiskFile;
  readonly #aside: boolean;
  readonly #id = crypto.randomUUID();
  readonly #pending = new Map<string, { digest: Uint8Array; entry: ChunkEntry }>();
  /** Of these, chunks that the store had already. */
  readonly #replaced = new Set<string>();
  #pack: CurrentPack | undefined;
  #appending: Promise<unknown> = Promise.resolve();

  constructor(
    store: ChunkStore,
    pool: WorkerPool,
    codec: Codec,
    options: { profile: "fast" | "compact"; lock: DiskFile; aside: boolean },
  ) {
    this.#store = store;
    this.#pool = pool;
    this.#codec = codec;
    this.#profile = options.profile;
    this.#lock = options.lock;
    this.#aside = options.aside;
  }

  /** Encodes a run of chunks on the worker pool. Nothing is written yet: pass the answer to `append`, in order. */
  async encode(
    source: ChunkSource,
    chunks: ChunkToEncode[],
    options: Partial<Pick<EncodeRequest, "operands" | "parents">> = {},
  ): Promise<EncodedRun> {
    const output = this.#store.outputs.pop() ?? new ArrayBuffer(Math.max(JOB_BYTES, CHUNK_BYTES_MAX));
    const request: EncodeRequest = {
      place: this.#store.place,
      saveId: this.#id,
      profile: this.#profile,
      source,
      chunks,
      operands: [],
      ...options,
      output,
    };
    return this.#pool.run(encodeJob, request, [output]);
  }

  /** Finds the content-defined cuts of a stretch of a file. */
  cut(request: Omit<CutRequest, "place">): Promise<number[]> {
    return this.#pool.run(cutJob, { ...request, place: this.#store.place });
  }

  /** Appends the frames of an answer that are new. Answers of one thread must be appended in the order asked for. */
  async append({ answers, output }: EncodedRun): Promise<void> {
    for (const answer of answers) await this.#appendAnswer(answer);
    if (this.#store.outputs.length < OUTPUTS_MAX) this.#store.outputs.push(output);
  }

  async #appendAnswer({ digest, frame }: EncodedChunk): Promise<void> {
    if (this.#has(digest)) return;
    // A thread that looked later than this one may know of what another process has committed since.
    if (frame === undefined) this.#store.index.refresh();
    if (frame === undefined && this.#has(digest)) return;
    invariant(frame !== undefined, "a chunk without a frame is in the index or was appended before");
    await this.#appendFrame(frame);
  }

  /**
   * Appends a chunk as a patch of one that the store has; what the patch makes of that is the caller's to know. Says
   * whether it could: the base may be gone, or its chain too long for one more.
   */
  async appendPatch({ digest, rawBytes, element, base, payload }: PatchedChunk): Promise<boolean> {
    if (this.#has(digest)) return true;
    const entry = this.#pending.get(digestKey(base))?.entry ?? this.#store.index.get(base);
    if (entry === undefined || entry.rawBytes !== rawBytes || entry.depth >= PATCH_DEPTH_MAX) return false;
    await this.#appendFrame({
      encoding: PATCH_ID,
      element: elementCode(element),
      chunks: [{ digest, rawBytes }],
      bases: [base],
      depth: entry.depth + 1,
      costKiB: patchCostKiB(payload.byteLength, entry.costKiB),
      payload,
    });
    return true;
  }

  /** A base's bytes with a patch applied, hashed: what a reader will find. */
  patchedDigest(base: Uint8Array, payload: Uint8Array): Uint8Array {
    const bytes = this.#store.reader.read(base);
    applyPatch(payload, bytes);
    return digestOf(bytes);
  }

  /** How many steps a stored chunk's chain has. */
  depthOf(digest: Uint8Array): number | undefined {
    return this.#store.index.get(digest)?.depth;
  }

  /** Stores one small chunk from memory, on this thread, and returns its digest: manifests, headers, blobs. */
  async put(bytes: Uint8Array, bases: Uint8Array[] = []): Promise<Uint8Array> {
    const digest = digestOf(bytes);
    if (!this.#has(digest)) {
      const chunk = { rawBytes: bytes.byteLength, element: "bytes", bases } as const;
      const encoding = { ...chunk, digest, raw: bytes, profile: this.#profile };
      const frame = encodeChunk(this.#codec, this.#store.reader, encoding);
      // The codec's memory is used again by whoever saves next, while this frame waits for its turn.
      await this.#appendFrame({ ...frame, payload: new Uint8Array(frame.payload) });
    }
    return digest;
  }

  /** Appends a frame of a chunk that the store has, to take the other one's place: not deeper than that one is. */
  async replace(frame: FrameToWrite): Promise<void> {
    for (const { digest } of frame.chunks) this.#replaced.add(digestKey(digest));
    await this.#appendFrame(frame);
  }

  /** Where a chunk lies that this save appended or the store had: it may be named as a base. */
  entryOf(digest: Uint8Array): ChunkEntry | undefined {
    return this.#pending.get(digestKey(digest))?.entry ?? this.#store.index.get(digest);
  }

  /** Stores one chunk of bytes that are encoded already, as they are: it is read back at the speed of the disk. */
  async putAsIs(bytes: Uint8Array): Promise<Uint8Array> {
    const digest = digestOf(bytes);
    if (!this.#has(digest)) {
      await this.#appendFrame({
        encoding: RAW_ENCODING,
        element: elementCode("bytes"),
        chunks: [{ digest, rawBytes: bytes.byteLength }],
        bases: [],
        depth: 0,
        costKiB: restoreCostKiB(bytes.byteLength, bytes.byteLength, 0),
        payload: bytes,
      });
    }
    return digest;
  }

  #has(digest: Uint8Array): boolean {
    return this.#pending.has(digestKey(digest)) || this.#store.index.get(digest) !== undefined;
  }

  #appendFrame(frame: FrameToWrite): Promise<void> {
    // One after the other, whoever calls: a pack has one end.
    const step = this.#appending.then(() => this.#appendNow(frame));
    this.#appending = step.catch(() => {});
    return step;
  }

  async #appendNow(frame: FrameToWrite): Promise<void> {
    const { writer } = this.#pack ?? (await this.#openPack());
    const before = writer.sizeBytes;
    const place = await writer.append(frame);
    this.storedBytes += writer.sizeBytes - before;
    this.newChunks += frame.chunks.length;
    frame.chunks.forEach(({ digest, rawBytes }, ordinal) => {
      const { depth, costKiB } = frame;
      const entry = {
        packId: writer.packId,
        ...place,
        ordinal,
        depth,
        costKiB: Math.min(costKiB, 0xffff),
        rawBytes,
      };
      this.#pending.set(digestKey(digest), { digest, entry });
    });
  }

  async #openPack(): Promise<CurrentPack> {
    const { writer, found } = this.#store.packs.acquire(this.#store.index);
    const isNew = writer.frameCount === 0;
    writer.aside = this.#aside;
    if (isNew) this.storedBytes += writer.sizeBytes;
    this.#pack = { writer, startBytes: writer.sizeBytes, startFrames: writer.frameCount, isNew };
    if (found !== undefined) await this.#indexFound(found, writer);
    return this.#pack;
  }

  /** A crashed save's good frames, now ours: made durable before anything may count on them. */
  async #indexFound(found: PackScan, writer: PackWriter): Promise<void> {
    await writer.sync();
    await this.#store.index.commit({
      puts: decodableEntries([found], this.#store.index),
      packEnds: [{ packId: writer.packId, goodBytes: writer.sizeBytes, frameCount: writer.frameCount }],
    });
  }

  /** Makes every appended chunk durable, then known. When it resolves, a ref may move to what they describe. */
  async commit(): Promise<{ indexBytes: number }> {
    await this.#appending;
    if (this.#pack === undefined) return { indexBytes: 0 };
    const { writer, isNew } = this.#pack;
    const writtenBytes = writer.sizeBytes;
    await writer.sync();
    this.storedBytes += writer.sizeBytes - writtenBytes;
    if (isNew) this.#store.packs.disk.syncDirectory(this.#store.packs.directory);
    // From here on the frames stay, whatever happens: a commit of the index that fails may have been seen by others.
    this.#pack = { writer, startBytes: writer.sizeBytes, startFrames: writer.frameCount, isNew: false };
    const { index } = this.#store;
    const before = index.sizeBytes();
    const isReplaced = ({ digest }: { digest: Uint8Array }) => this.#replaced.has(digestKey(digest));
    const pending = [...this.#pending.values()];
    await index.commit({
      puts: pending.filter((each) => !isReplaced(each)),
      moves: pending.filter(isReplaced),
      packEnds: [{ packId: writer.packId, goodBytes: writer.sizeBytes, frameCount: writer.frameCount }],
    });
    return { indexBytes: index.sizeBytes() - before };
  }

  /** Ends the save, however it went: what `commit` did not make durable is cut off again, and gc may run. */
  async end(): Promise<void> {
    await this.#appending;
    try {
      if (this.#pack !== undefined) await this.#release(this.#pack);
    } finally {
      this.#lock.close();
    }
  }

  async #release({ writer, startBytes, startFrames, isNew }: CurrentPack): Promise<void> {
    if (isNew) return this.#store.packs.discard(writer);
    if (writer.sizeBytes > startBytes || writer.failed) {
      try {
        writer.cutBack(startBytes, startFrames);
      } catch {
        // The space is lost until gc finds it; the save's own error is the one to tell.
      }
    }
    await this.#store.packs.release(writer);
  }
}
