import type { Codec } from "../codec/codec.ts";
import { elementCode } from "../codec/element.ts";
import type { Recipe } from "../codec/replay/recipe.ts";
import type { Base, ChunkReader } from "./chunk-reader.ts";
import type { ChunkToEncode } from "./encode-run.ts";
import type { FrameToWrite } from "./pack-writer.ts";
import { basesCostKiB, mayExtendChain, restoreCostKiB } from "./restore-cost.ts";

/** How an optimizer's step may have made the chunk: bases are digests of stored chunks or places among the operands. */
export interface ReplayToTry {
  recipe: Recipe;
  bases: (Uint8Array | number)[];
}

export interface ChunkEncoding extends ChunkToEncode {
  digest: Uint8Array;
  raw: Uint8Array;
  profile: "fast" | "compact";
  replay?: ReplayToTry | undefined;
  /** What the replay names by place. */
  operands?: Base[];
  /** The first base, where its bytes are at hand. */
  parent?: Base | undefined;
}

/** The smallest frame for one chunk: alone, or against the bases that can be read and whose chain may grow. */
export function encodeChunk(codec: Codec, reader: ChunkReader, chunk: ChunkEncoding): FrameToWrite {
  const { digest, raw, element, profile } = chunk;
  // The fast profile predicts from the parent alone: decoding its parent too would take longer than the encoding.
  const wanted = profile === "fast" && element !== "bytes" ? chunk.bases.slice(0, 1) : chunk.bases;
  const known = chunk.parent === undefined ? [] : [chunk.parent];
  const toRead = [...wanted, ...storedBasesOfReplay(chunk)].filter((digest) => digest !== known[0]?.digest);
  const stored = [...known, ...reader.readBases(toRead)];
  const bases = wanted.flatMap((digest) => stored.find((base) => base.digest === digest) ?? []);
  const usable = mayExtendChain(
    raw.byteLength,
    bases.map((base) => base.entry),
  )
    ? bases
    : [];
  const replayBases = profile === "fast" ? undefined : basesOfReplay(chunk, stored);
  const { encoding, payload, basesUsed, replayed } = codec.encode({
    bytes: raw,
    element,
    bases: usable.map((base) => base.bytes),
    profile,
    ...(replayBases === undefined
      ? {}
      : { replay: { recipe: chunk.replay!.recipe, bases: replayBases.map((base) => base.bytes) } }),
  });
  const used = replayed ? replayBases! : usable.slice(0, basesUsed);
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

function storedBasesOfReplay({ replay, profile }: ChunkEncoding): Uint8Array[] {
  if (replay === undefined || profile === "fast") return [];
  return replay.bases.filter((base) => typeof base !== "number");
}

/** The replay's bases in its order; undefined unless all of them are there and their chains may grow. */
function basesOfReplay({ replay, operands, raw }: ChunkEncoding, stored: Base[]): Base[] | undefined {
  if (replay === undefined) return undefined;
  const bases: Base[] = [];
  for (const name of replay.bases) {
    const base = typeof name === "number" ? operands?.[name] : stored.find(({ digest }) => digest === name);
    if (base === undefined) return undefined;
    bases.push(base);
  }
  const entries = bases.map(({ entry }) => entry);
  return mayExtendChain(raw.byteLength, entries) ? bases : undefined;
}
