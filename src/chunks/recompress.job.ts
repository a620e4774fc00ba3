import { type Codec, encodingName, loadCodec } from "../codec/codec.ts";
import { elementOf } from "../codec/element.ts";
import type { Job } from "../workers/job.ts";
import type { Base, ChunkReader } from "./chunk-reader.ts";
import { digestOf, sameDigest } from "./digest.ts";
import { encodeChunk } from "./encode-chunk.ts";
import { type ChunkPlace, jobContext } from "./job-context.ts";
import { frameHeaderBytes } from "./pack-format.ts";
import type { FrameToWrite } from "./pack-writer.ts";

/** Writes chunks of the fast profile again in fewer bytes; what comes back was decoded and compared. */
export const recompressJob: Job = { url: import.meta.url, name: "recompressChunks" };

export interface RecompressRequest {
  place: ChunkPlace;
  digests: Uint8Array[];
}

export interface RecompressedChunk {
  /** Bytes of the frame that holds it now. */
  frameBytes: number;
  /** Absent where nothing smaller was found. */
  frame?: FrameToWrite;
}

/** A smaller frame must save this share of the old one: rewriting moves bytes about as well. */
const SAVES_MIN = 0.02;

/** Encodings that only the fast profile takes where the compact one has a better one. */
export const FAST_ENCODINGS: ReadonlySet<string> = new Set(["lz4", "packed-difference"]);

export async function recompressChunks({ place, digests }: RecompressRequest): Promise<RecompressedChunk[]> {
  const { reader } = await jobContext(place);
  const codec = await loadCodec();
  reader.index.refresh();
  return digests.map((digest) => recompressed(codec, reader, digest));
}

function recompressed(codec: Codec, reader: ChunkReader, digest: Uint8Array): RecompressedChunk {
  const { header, entry } = reader.describe(digest);
  const { frameBytes } = entry;
  if (header.chunks.length > 1 || !FAST_ENCODINGS.has(encodingName(header.encoding))) return { frameBytes };
  const raw = reader.read(digest);
  const element = elementOf(header.element);
  const bases = basesWithin(reader, header.bases, entry.depth);
  const frame = encodeChunk(codec, reader, {
    rawBytes: raw.byteLength,
    element,
    bases,
    digest,
    raw,
    profile: "compact",
  });
  const writtenBytes = frameHeaderBytes(1, frame.bases.length) + frame.payload.byteLength;
  if (frame.depth > entry.depth || writtenBytes > frameBytes * (1 - SAVES_MIN)) return { frameBytes };
  const payload = new Uint8Array(frame.payload);
  const used = reader.readBases(frame.bases);
  if (!decodesTo(codec, { ...frame, payload }, used, digest)) return { frameBytes };
  return { frameBytes, frame: { ...frame, payload } };
}

/**
 * Chunks to encode against: the old frame's base, and that one's own. Nothing else may be named: gc, which may have
 * marked what is needed a moment ago, knows these; and as they lie less deep, no circle can come of it.
 */
function basesWithin(reader: ChunkReader, shortDigests: Uint8Array[], depth: number): Uint8Array[] {
  const bases: Uint8Array[] = [];
  let next = shortDigests[0];
  while (next !== undefined && bases.length < 2) {
    const found = reader.index.find(next);
    if (found === undefined || found.entry.depth >= depth) break;
    bases.push(found.digest);
    next = reader.describe(found.digest).header.bases[0];
  }
  return bases;
}

function decodesTo(codec: Codec, frame: FrameToWrite, bases: Base[], digest: Uint8Array): boolean {
  if (bases.length !== frame.bases.length) return false;
  const target = new Uint8Array(frame.chunks[0]!.rawBytes);
  const { encoding, payload } = frame;
  const offered = bases.map(({ bytes }) => bytes);
  codec.decode({ encoding, element: elementOf(frame.element), payload, bases: offered }, target);
  return sameDigest(digestOf(target), digest);
}
