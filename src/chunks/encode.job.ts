import { loadCodec } from "../codec/codec.ts";
import type { Disk } from "../disk/disk.ts";
import { isStoreError, StoreError } from "../errors.ts";
import { ENCODED_DIGESTS_MAX, JOB_BYTES } from "../limits.ts";
import { type Job, Moving } from "../workers/job.ts";
import type { Base, ChunkReader } from "./chunk-reader.ts";
import { digestOf, sameDigest } from "./digest.ts";
import { DigestTable } from "./digest-table.ts";
import { encodeChunk, type ReplayToTry } from "./encode-chunk.ts";
import { EncodeRun } from "./encode-run.ts";
import { type ChunkPlace, jobContext } from "./job-context.ts";

/**
 * Reads, hashes and encodes a run of chunks that lie one after the other in a file or in shared memory. A chunk
 * that the store has already comes back as its digest alone.
 */
export const encodeJob: Job = { url: import.meta.url, name: "encodeChunks" };

export interface EncodeRequest {
  place: ChunkPlace;
  /** Chunks already encoded for this save by this thread are not encoded again. */
  saveId: string;
  profile: "fast" | "compact";
  source: ChunkSource;
  /** The run: see `EncodeRun`. */
  run: ArrayBuffer;
  /** By chunk of the run; absent where no chunk has one. */
  replays?: (ReplayToTry | undefined)[];
  /**
   * Where raw bytes of the chunks' first bases may lie, one after the other like the chunks themselves: reading and
   * hashing them costs less than decoding the bases. What is not there, or not those bytes, is decoded.
   */
  parents?: FileRange | undefined;
  /** Chunks of this save that replays name by their place here; stored before, but not yet in the index. */
  operands?: OperandSource[];
}

/** `bytes` lies in shared memory and is not written until the job is done. */
export type ChunkSource = FileRange | { bytes: Uint8Array };

export interface FileRange {
  path: string;
  offset: number;
}

/** A chunk's raw bytes, and what its frame says of it. */
export interface OperandSource {
  source: ChunkSource;
  rawBytes: number;
  digest: Uint8Array;
  depth: number;
  costKiB: number;
}

const lastSave = { saveId: "", encoded: new DigestTable() };

/** The job before this one on this thread. */
let turn: Promise<unknown> = Promise.resolve();

/**
 * Returns the run with the chunks' digests and frames. A chunk that the store, or an earlier answer to this save, has
 * comes without a frame.
 *
 * One job after the other: a chunk that comes again is answered without its frame, because an answer that is appended
 * earlier has it. A job that waits for what it has to load must not be overtaken by the next.
 */
export function encodeChunks(request: EncodeRequest): Promise<Moving<ArrayBuffer>> {
  const run = turn.then(() => encodeNow(request));
  turn = run.catch(() => {});
  return run;
}

async function encodeNow(request: EncodeRequest): Promise<Moving<ArrayBuffer>> {
  const run = new EncodeRun(request.run);
  const { disk, reader } = await jobContext(request.place);
  const codec = await loadCodec();
  if (needsDeltas(run)) await codec.loadDeltas();
  reader.index.refresh();
  const encoded = encodedFor(request.saveId);
  const sizeBytes = rawBytesOf(run);
  const bytes =
    "bytes" in request.source
      ? request.source.bytes
      : readSource(disk, request.source, sizeBytes, scratch(sizeBytes));
  const operands = request.operands?.map((operand) => operandBase(disk, operand)) ?? [];
  const parents = request.parents && parentBytes(disk, request.parents, bytes.byteLength);
  let end = 0;
  for (let i = 0; i < run.count; i++) {
    const at = end;
    end += run.rawBytes(i);
    const raw = bytes.subarray(at, end);
    const digest = digestOf(raw);
    run.setDigest(i, digest);
    if (encoded.has(digest) || reader.index.get(digest) !== undefined) continue;
    encoded.add(digest);
    const bases = run.bases(i);
    const frame = encodeChunk(codec, reader, {
      rawBytes: raw.byteLength,
      element: run.element(i),
      bases,
      replay: request.replays?.[i],
      digest,
      raw,
      profile: request.profile,
      operands,
      parent: parents && parentOf(reader, bases[0], parents.subarray(at, end)),
    });
    run.addFrame(i, frame);
  }
  return new Moving(run.buffer, [run.buffer]);
}

function encodedFor(saveId: string): DigestTable {
  if (lastSave.saveId !== saveId) {
    lastSave.saveId = saveId;
    lastSave.encoded.clear();
  } else if (lastSave.encoded.size > ENCODED_DIGESTS_MAX) lastSave.encoded.clear();
  return lastSave.encoded;
}

function needsDeltas(run: EncodeRun): boolean {
  for (let i = 0; i < run.count; i++) if (run.element(i) === "bytes" && run.baseCount(i) > 0) return true;
  return false;
}

function rawBytesOf(run: EncodeRun): number {
  let sum = 0;
  for (let i = 0; i < run.count; i++) sum += run.rawBytes(i);
  return sum;
}

function operandBase(disk: Disk, { source, rawBytes, digest, depth, costKiB }: OperandSource): Base {
  const bytes =
    "bytes" in source ? source.bytes : readSource(disk, source, rawBytes, new Uint8Array(rawBytes));
  return { digest, entry: { depth, costKiB }, bytes };
}

/** Memory for the stretch of a file that is being encoded, kept from job to job. */
let fileBytes = new Uint8Array(0);

function scratch(sizeBytes: number): Uint8Array {
  if (fileBytes.byteLength < sizeBytes) fileBytes = new Uint8Array(Math.max(sizeBytes, JOB_BYTES));
  return fileBytes.subarray(0, sizeBytes);
}

/** And for what the chunks' first bases are read into. */
let parentMemory = new Uint8Array(0);

function parentBytes(disk: Disk, { path, offset }: FileRange, sizeBytes: number): Uint8Array | undefined {
  if (parentMemory.byteLength < sizeBytes) parentMemory = new Uint8Array(Math.max(sizeBytes, JOB_BYTES));
  const bytes = parentMemory.subarray(0, sizeBytes);
  try {
    const file = disk.open(path, { access: "read" });
    try {
      return file.readSync(bytes, offset) === sizeBytes ? bytes : undefined;
    } finally {
      file.close();
    }
  } catch (error) {
    // Given up meanwhile: the bases are decoded.
    if (isStoreError(error)) return undefined;
    throw error;
  }
}

/** The chunk's first base, if these are its bytes and the store has it. */
function parentOf(reader: ChunkReader, digest: Uint8Array | undefined, bytes: Uint8Array): Base | undefined {
  const entry = digest && reader.index.get(digest);
  if (entry === undefined || entry.rawBytes !== bytes.byteLength) return undefined;
  return sameDigest(digestOf(bytes), digest!) ? { digest: digest!, entry, bytes } : undefined;
}

/** Fills `bytes`, which holds `sizeBytes`. */
function readSource(
  disk: Disk,
  { path, offset }: FileRange,
  sizeBytes: number,
  bytes: Uint8Array,
): Uint8Array {
  const file = disk.open(path, { access: "read" });
  try {
    if (file.readSync(bytes, offset) !== sizeBytes) {
      throw new StoreError("ERR_CONFLICT", `${path} became shorter while it was being saved`, {
        context: { path, offset },
        retryable: true,
        hint: "Save files that are complete and no longer written to.",
      });
    }
  } finally {
    file.close();
  }
  return bytes;
}
