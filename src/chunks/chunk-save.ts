import { invariant } from "../assert.ts";
import { type Codec, RAW_ENCODING } from "../codec/codec.ts";
import { elementCode } from "../codec/element.ts";
import { applyPatch } from "../codec/encodings/patch.ts";
import type { DiskFile } from "../disk/disk.ts";
import { PATCH_DEPTH_MAX } from "../limits.ts";
import type { WorkerPool } from "../workers/pool.ts";
import { AppendedChunks } from "./appended-chunks.ts";
import type { ChunkEntry, ChunkIndex } from "./chunk-index.ts";
import type { ChunkReader } from "./chunk-reader.ts";
import { type CutRequest, cutJob } from "./cut.job.ts";
import { decodableEntries } from "./decodable.ts";
import { digestOf } from "./digest.ts";
import { DigestTable } from "./digest-table.ts";
import { type ChunkSource, type EncodeRequest, encodeJob } from "./encode.job.ts";
import { encodeChunk } from "./encode-chunk.ts";
import { type ChunkToEncode, EncodeRun, RUN_BYTES } from "./encode-run.ts";
import type { ChunkPlace } from "./job-context.ts";
import type { PackDirectory } from "./pack-directory.ts";
import { costOfFrame, depthOfFrame, FRAME_COST_KIB_MAX } from "./pack-format.ts";
import type { PackScan } from "./pack-scan.ts";
import type { FrameToWrite, PackWriter } from "./pack-writer.ts";
import { digestOfPatch, linkPatch, rawBytesOfPatch } from "./patch-frame.ts";
import { restoreCostKiB } from "./restore-cost.ts";

/** Memory of runs kept for the next ones: as many as a save has in flight on two cores. */
const RUNS_MAX = 6;

interface CurrentPack {
  writer: PackWriter;
  /** Where the pack ended when its last durable state was reached: a failed save is cut back to here. */
  startBytes: number;
  startFrames: number;
  /** The file is new, and its name is not durable yet. */
  isNew: boolean;
}

/** The store a save adds to. */
export interface SavedInto {
  readonly place: ChunkPlace;
  readonly reader: ChunkReader;
  readonly index: ChunkIndex;
  readonly packs: PackDirectory;
  /** Memory for runs that workers encode, kept from save to save. */
  readonly runs: ArrayBuffer[];
}

/** A patch's frame, as `writePatchFrame` wrote it, and the chunk that it is made against. */
export interface PatchToAppend {
  frame: Buffer;
  base: Uint8Array;
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
  readonly #store: SavedInto;
  readonly #pool: WorkerPool;
  readonly #codec: Codec;
  readonly #profile: "fast" | "compact";
  readonly #lock: DiskFile;
  readonly #aside: boolean;
  readonly #id = crypto.randomUUID();
  readonly #appended = new AppendedChunks();
  /** Of these, chunks that the store had already. */
  readonly #replaced = new DigestTable();
  #pack: CurrentPack | undefined;
  #appending: Promise<unknown> = Promise.resolve();

  constructor(
    store: SavedInto,
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
    chunks: readonly ChunkToEncode[],
    options: Pick<EncodeRequest, "operands" | "parents" | "replays"> = {},
  ): Promise<EncodeRun> {
    const { runs, place } = this.#store;
    const run = EncodeRun.of(chunks, (sizeBytes) => {
      if (sizeBytes > RUN_BYTES) return new ArrayBuffer(sizeBytes);
      return runs.pop() ?? new ArrayBuffer(RUN_BYTES);
    });
    const asked = { place, saveId: this.#id, profile: this.#profile, source, run: run.buffer };
    const request: EncodeRequest = { ...asked, ...options };
    return new EncodeRun(await this.#pool.run<ArrayBuffer>(encodeJob, request, [run.buffer]));
  }

  /** Finds the content-defined cuts of a stretch of a file. */
  cut(request: Omit<CutRequest, "place">): Promise<number[]> {
    return this.#pool.run(cutJob, { ...request, place: this.#store.place });
  }

  /**
   * Appends the frames of an encoded run that are new; its memory goes to another run then. Runs of one thread must be
   * appended in the order asked for.
   */
  async append(run: EncodeRun): Promise<void> {
    await this.#inTurn(() => this.#appendRun(run));
    if (this.#store.runs.length < RUNS_MAX && run.buffer.byteLength === RUN_BYTES) {
      this.#store.runs.push(run.buffer);
    }
  }

  async #appendRun(run: EncodeRun): Promise<void> {
    for (let i = 0; i < run.count; i++) {
      const digest = run.digest(i);
      if (this.#appended.has(digest)) continue;
      const frame = run.frame(i);
      if (frame === undefined) {
        this.#requireKnown(digest);
        continue;
      }
      const pack = this.#pack ?? (await this.#openPack());
      this.#add(pack, digest, frame, run.rawBytes(i));
      if (pack.writer.isFull) await pack.writer.flush();
    }
  }

  /** Gives a frame of one chunk, which waits for its place alone, the next place in the pack. */
  #add({ writer }: CurrentPack, digest: Uint8Array, frame: Uint8Array, rawBytes: number): void {
    const offset = writer.add(frame);
    this.storedBytes += frame.byteLength;
    this.newChunks += 1;
    this.#appended.set(digest, {
      packId: writer.packId,
      offset,
      frameBytes: frame.byteLength,
      ordinal: 0,
      depth: depthOfFrame(frame),
      costKiB: costOfFrame(frame),
      rawBytes,
    });
  }

  /** A thread that looked later than this one may know of what another process has committed since. */
  #requireKnown(digest: Uint8Array): void {
    if (this.#has(digest)) return;
    this.#store.index.refresh();
    invariant(this.#has(digest), "a chunk without a frame is in the index or was appended before");
  }

  /**
   * Appends chunks as patches of chunks that the store has; what a patch makes of that is the caller's to know. Their
   * frames are written to. Says whether it could append all: a base may be gone, or its chain too long for one more.
   */
  async appendPatches(patches: Iterable<PatchToAppend>): Promise<boolean> {
    let all = true;
    await this.#inTurn(async () => {
      all = await this.#appendLinked(patches);
    });
    return all;
  }

  async #appendLinked(patches: Iterable<PatchToAppend>): Promise<boolean> {
    for (const { frame, base } of patches) {
      const digest = digestOfPatch(frame);
      if (this.#has(digest)) continue;
      const rawBytes = rawBytesOfPatch(frame);
      const entry = this.entryOf(base);
      if (entry === undefined || entry.rawBytes !== rawBytes || entry.depth >= PATCH_DEPTH_MAX) return false;
      linkPatch(frame, base, entry);
      const pack = this.#pack ?? (await this.#openPack());
      this.#add(pack, digest, frame, rawBytes);
      if (pack.writer.isFull) await pack.writer.flush();
    }
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
    for (const { digest } of frame.chunks) this.#replaced.add(digest);
    await this.#appendFrame(frame);
  }

  /** Where a chunk lies that this save appended or the store had: it may be named as a base. */
  entryOf(digest: Uint8Array): ChunkEntry | undefined {
    return this.#appended.get(digest) ?? this.#store.index.get(digest);
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
    return this.#appended.has(digest) || this.#store.index.get(digest) !== undefined;
  }

  #appendFrame(frame: FrameToWrite): Promise<void> {
    return this.#inTurn(() => this.#appendNow(frame));
  }

  /** One after the other, whoever calls: a pack has one end. */
  #inTurn(append: () => Promise<void>): Promise<void> {
    const step = this.#appending.then(append);
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
        costKiB: Math.min(costKiB, FRAME_COST_KIB_MAX),
        rawBytes,
      };
      this.#appended.set(digest, entry);
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
    const { index } = this.#store;
    // Refused here, the frames are cut off again.
    index.requireSpace(this.#appended.size);
    const writtenBytes = writer.sizeBytes;
    await writer.sync();
    this.storedBytes += writer.sizeBytes - writtenBytes;
    if (isNew) this.#store.packs.disk.syncDirectory(this.#store.packs.directory);
    // From here on the frames stay, whatever happens: a commit of the index that fails may have been seen by others.
    this.#pack = { writer, startBytes: writer.sizeBytes, startFrames: writer.frameCount, isNew: false };
    const before = index.sizeBytes();
    await index.commit({
      puts: this.#entries((digest) => !this.#replaced.has(digest)),
      moves: this.#replaced.size === 0 ? [] : this.#entries((digest) => this.#replaced.has(digest)),
      packEnds: [{ packId: writer.packId, goodBytes: writer.sizeBytes, frameCount: writer.frameCount }],
    });
    return { indexBytes: index.sizeBytes() - before };
  }

  *#entries(which: (digest: Uint8Array) => boolean): Iterable<{ digest: Uint8Array; entry: ChunkEntry }> {
    for (const each of this.#appended.entries()) if (which(each.digest)) yield each;
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
    await writer.settle();
    if (isNew) return this.#store.packs.discard(writer);
    if (writer.sizeBytes > startBytes || writer.failed) {
      try {
        await writer.cutBack(startBytes, startFrames);
      } catch {
        // The space is lost until gc finds it; the save's own error is the one to tell.
      }
    }
    await this.#store.packs.release(writer);
  }
}
