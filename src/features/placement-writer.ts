import type { ChunkEntry } from "../chunks/chunk-index.ts";
import { storedFrameBytes } from "../chunks/pack-reader.ts";
import { FEATURE_PLACEMENT_BYTES_MAX } from "../limits.ts";
import { ByteSink } from "../series/columns/byte-sink.ts";
import type { Piece } from "./format.ts";
import type { PlacedRun } from "./placement-format.ts";

/**
 * @param entryOf what is known of a chunk now
 * @returns at most `FEATURE_PLACEMENT_BYTES_MAX`: pieces past that have no place
 */
export function encodePlacement(
  manifestDigest: Uint8Array,
  pieces: Iterable<Piece>,
  entryOf: (digest: Uint8Array) => ChunkEntry | undefined,
): Uint8Array {
  const packs: bigint[] = [];
  const packAt = (packId: bigint) => {
    if (!packs.includes(packId)) packs.push(packId);
    return packs.indexOf(packId) + 1;
  };
  const body = new ByteSink();
  const manifest = aloneIn(entryOf(manifestDigest));
  if (manifest === undefined) body.varint(0);
  else body.varint(packAt(manifest.packId)).varint(manifest.offset).varint(manifest.frameBytes);
  for (const { skipped, count, packId, offset, frameBytes } of runsOf(pieces, entryOf)) {
    const run = new ByteSink().varint(skipped).varint(count).varint(packAt(packId)).varint(offset);
    if (count === 0) run.varint(frameBytes);
    if (1 + packs.length * 8 + body.length + run.length > FEATURE_PLACEMENT_BYTES_MAX) break;
    body.bytes(run.finish());
  }
  const sink = new ByteSink().varint(packs.length);
  for (const packId of packs) sink.bytes(idBytes(packId));
  return sink.bytes(body.finish()).finish();
}

/** A chunk in a frame of its own that needs no other to be decoded. */
function aloneIn(entry: ChunkEntry | undefined): ChunkEntry | undefined {
  return entry !== undefined && entry.depth === 0 && entry.ordinal === 0 ? entry : undefined;
}

function* runsOf(
  pieces: Iterable<Piece>,
  entryOf: (digest: Uint8Array) => ChunkEntry | undefined,
): Iterable<PlacedRun> {
  let skipped = 0;
  let run: (PlacedRun & { end: number }) | undefined;
  for (const { digest, rawBytes } of pieces) {
    const entry = aloneIn(entryOf(digest));
    if (entry === undefined) {
      if (run !== undefined) yield run;
      run = undefined;
      skipped++;
      continue;
    }
    const { packId, offset, frameBytes } = entry;
    const isStored = frameBytes === storedFrameBytes(rawBytes);
    if (isStored && run !== undefined && run.packId === packId && run.end === offset) {
      run.count++;
      run.end += frameBytes;
      continue;
    }
    if (run !== undefined) yield run;
    run = undefined;
    const next = { skipped, packId, offset, count: isStored ? 1 : 0, frameBytes };
    if (isStored) run = { ...next, end: offset + frameBytes };
    else yield next;
    skipped = 0;
  }
  if (run !== undefined) yield run;
}

function idBytes(packId: bigint): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(packId);
  return bytes;
}
