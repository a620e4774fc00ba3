import type { Codec } from "../codec/codec.ts";
import { elementCode } from "../codec/element.ts";
import type { ChunkReader } from "./chunk-reader.ts";
import type { ChunkToEncode } from "./encode.job.ts";
import type { FrameToWrite } from "./pack-writer.ts";
import { basesCostKiB, mayExtendChain, restoreCostKiB } from "./restore-cost.ts";

export interface ChunkEncoding extends ChunkToEncode {
  digest: Uint8Array;
  raw: Uint8Array;
  profile: "fast" | "compact";
}

/** The smallest frame for one chunk: alone, or against the bases that can be read and whose chain may grow. */
export function encodeChunk(codec: Codec, reader: ChunkReader, chunk: ChunkEncoding): FrameToWrite {
  const { digest, raw, element, profile } = chunk;
  const bases = reader.readBases(chunk.bases);
  const usable = mayExtendChain(
    raw.byteLength,
    bases.map((base) => base.entry),
  )
    ? bases
    : [];
  const { encoding, payload, basesUsed } = codec.encode({
    bytes: raw,
    element,
    bases: usable.map((base) => base.bytes),
    profile,
  });
  const used = usable.slice(0, basesUsed);
  const basesKiB = basesCostKiB(used.map((base) => base.entry));
  return {
    encoding,
    element: elementCode(element),
    chunks: [{ digest, rawBytes: raw.byteLength }],
    bases: used.map((base) => base.digest),
    depth: used.reduce((deepest, base) => Math.max(deepest, base.entry.depth + 1), 0),
    costKiB: restoreCostKiB(payload.byteLength, raw.byteLength, basesKiB),
    payload,
  };
}
