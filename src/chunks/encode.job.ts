import { loadCodec } from "../codec/codec.ts";
import type { Element } from "../codec/element.ts";
import type { Recipe } from "../codec/replay/recipe.ts";
import type { Disk } from "../disk/disk.ts";
import { isStoreError, StoreError } from "../errors.ts";
import { ENCODED_DIGESTS_MAX, JOB_BYTES } from "../limits.ts";
import { type Job, Moving } from "../workers/job.ts";
import type { Base, ChunkReader } from "./chunk-reader.ts";
import { digestKey, digestOf, sameDigest } from "./digest.ts";
import { encodeChunk } from "./encode-chunk.ts";
import { type ChunkPlace, jobContext } from "./job-context.ts";
import type { FrameToWrite } from "./pack-writer.ts";

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
  chunks: ChunkToEncode[];
  /**
   * Where raw bytes of the chunks' first bases may lie, one after the other like the chunks themselves: reading and
   * hashing them costs less than decoding the bases. What is not there, or not those bytes, is decoded.
   */
  parents?: FileRange | undefined;
  /** Chunks of this save that replays name by their place here; stored before, but not yet in the index. */
  operands: OperandSource[];
  /** Memory for the answer's payloads, as large as the chunks together: no payload is larger than its chunk. */
  output: ArrayBuffer;
}

export interface EncodedRun {
  answers: EncodedChunk[];
  /** The request's, which the payloads are parts of: to be used again when they are not needed any more. */
  output: ArrayBuffer;
}

/** `bytes` lies in shared memory and is not written until the job is done. */
export type ChunkSource = FileRange | { bytes: Uint8Array };

export interface FileRange {
  path: string;
  offset: number;
}

export interface ChunkToEncode {
  rawBytes: number;
  element: Element;
  /** Digests of chunks to try as bases, the most promising first. */
  bases: Uint8Array[];
  replay?: ReplayToTry;
}

/** A chunk's raw bytes, and what its frame says of it. */
export interface OperandSource {
  source: ChunkSource;
  rawBytes: number;
  digest: Uint8Array;
  depth: number;
  costKiB: number;
}

/** How an optimizer's step may have made the chunk: bases are digests of stored chunks or places among the operands. */
export interface ReplayToTry {
  recipe: Recipe;
  bases: (Uint8Array | number)[];
}

export interface EncodedChunk {
  digest: Uint8Array;
  /** Absent when the store, or an earlier answer to this save, has the chunk. Its payload is a part of `output`. */
  frame?: FrameToWrite;
}

let lastSave = { saveId: "", encoded: new Set<string>() };

/** The job before this one on this thread. */
let turn: Promise<unknown> = Promise.resolve();

/**
 * One job after the other: a chunk that comes again is answered without its frame, because an answer that is appended
 * earlier has it. A job that waits for what it has to load must not be overtaken by the next.
 */
export function encodeChunks(request: EncodeRequest): Promise<Moving<EncodedRun>> {
  const run = turn.then(() => encodeNow(request));
  turn = run.catch(() => {});
  return run;
}

async function encodeNow(request: EncodeRequest): Promise<Moving<EncodedRun>> {
  const { disk, reader } = await jobContext(request.place);
  const codec = await loadCodec();
  if (request.chunks.some(({ element, bases }) => element === "bytes" && bases.length > 0))
    await codec.loadDeltas();
  reader.index.refresh();
  if (lastSave.saveId !== request.saveId || lastSave.encoded.size > ENCODED_DIGESTS_MAX) {
    lastSave = { saveId: request.saveId, encoded: new Set() };
  }
  const bytes =
    "bytes" in request.source
      ? request.source.bytes
      : readSource(disk, request.source, request.chunks, scratch);
  const operands = request.operands.map((operand): Base => {
    const { source, digest, depth, costKiB } = operand;
    return {
      digest,
      entry: { depth, costKiB },
      bytes: "bytes" in source ? source.bytes : readSource(disk, source, [operand], ownMemory),
    };
  });
  const parents = request.parents && parentBytes(disk, request.parents, bytes.byteLength);
  const answers: EncodedChunk[] = [];
  let end = 0;
  for (const chunk of request.chunks) {
    const at = end;
    end += chunk.rawBytes;
    const raw = bytes.subarray(at, end);
    const digest = digestOf(raw);
    const key = digestKey(digest);
    if (lastSave.encoded.has(key) || reader.index.get(digest) !== undefined) {
      answers.push({ digest });
      continue;
    }
    lastSave.encoded.add(key);
    const parent = parents && parentOf(reader, chunk, parents.subarray(at, end));
    const frame = encodeChunk(codec, reader, {
      ...chunk,
      digest,
      raw,
      profile: request.profile,
      operands,
      parent,
    });
    const payload = new Uint8Array(request.output, at, frame.payload.byteLength);
    payload.set(frame.payload);
    answers.push({ digest, frame: { ...frame, payload } });
  }
  return new Moving({ answers, output: request.output }, [request.output]);
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
function parentOf(reader: ChunkReader, { bases }: ChunkToEncode, bytes: Uint8Array): Base | undefined {
  const [digest] = bases;
  const entry = digest && reader.index.get(digest);
  if (entry === undefined || entry.rawBytes !== bytes.byteLength) return undefined;
  return sameDigest(digestOf(bytes), digest!) ? { digest: digest!, entry, bytes } : undefined;
}

const ownMemory = (sizeBytes: number) => new Uint8Array(sizeBytes);

function readSource(
  disk: Disk,
  { path, offset }: FileRange,
  chunks: { rawBytes: number }[],
  allocate: (sizeBytes: number) => Uint8Array,
): Uint8Array {
  const sizeBytes = chunks.reduce((sum, chunk) => sum + chunk.rawBytes, 0);
  const bytes = allocate(sizeBytes);
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
