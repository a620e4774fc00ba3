import { loadCodec } from "../codec/codec.ts";
import type { Element } from "../codec/element.ts";
import type { Disk } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import { ENCODED_DIGESTS_MAX } from "../limits.ts";
import { type Job, Transferred } from "../workers/job.ts";
import { digestKey, digestOf } from "./digest.ts";
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
}

/** `bytes` lies in shared memory and is not written until the job is done. */
export type ChunkSource = FileRange | { bytes: Uint8Array };

interface FileRange {
  path: string;
  offset: number;
}

export interface ChunkToEncode {
  rawBytes: number;
  element: Element;
  /** Digests of chunks to try as bases, the most promising first. */
  bases: Uint8Array[];
}

export interface EncodedChunk {
  digest: Uint8Array;
  /** Absent when the store, or an earlier answer to this save, has the chunk. */
  frame?: FrameToWrite;
}

let lastSave = { saveId: "", encoded: new Set<string>() };

export async function encodeChunks(request: EncodeRequest): Promise<Transferred> {
  const { disk, reader } = await jobContext(request.place);
  const codec = await loadCodec();
  reader.index.refresh();
  if (lastSave.saveId !== request.saveId || lastSave.encoded.size > ENCODED_DIGESTS_MAX) {
    lastSave = { saveId: request.saveId, encoded: new Set() };
  }
  const bytes =
    "bytes" in request.source ? request.source.bytes : readSource(disk, request.source, request.chunks);
  const answers: EncodedChunk[] = [];
  let at = 0;
  for (const chunk of request.chunks) {
    const raw = bytes.subarray(at, at + chunk.rawBytes);
    at += chunk.rawBytes;
    const digest = digestOf(raw);
    const key = digestKey(digest);
    if (lastSave.encoded.has(key) || reader.index.get(digest) !== undefined) {
      answers.push({ digest });
      continue;
    }
    lastSave.encoded.add(key);
    answers.push({
      digest,
      frame: encodeChunk(codec, reader, { ...chunk, digest, raw, profile: request.profile }),
    });
  }
  return new Transferred(answers, ownedBuffers(answers));
}

function readSource(disk: Disk, { path, offset }: FileRange, chunks: ChunkToEncode[]): Uint8Array {
  const sizeBytes = chunks.reduce((sum, chunk) => sum + chunk.rawBytes, 0);
  const bytes = Buffer.allocUnsafeSlow(sizeBytes);
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

/** The payloads' buffers that may move to the caller: each whole its payload's own. */
function ownedBuffers(answers: EncodedChunk[]): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>();
  for (const { frame } of answers) {
    const buffer = frame?.payload.buffer;
    if (buffer instanceof ArrayBuffer && buffer.byteLength === frame!.payload.byteLength) buffers.add(buffer);
  }
  return [...buffers];
}
