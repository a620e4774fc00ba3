import type { ChunkEntry } from "../chunks/chunk-index.ts";
import { storedFrameBytes } from "../chunks/pack-reader.ts";
import { FEATURE_PLACEMENT_BYTES_MAX } from "../limits.ts";
import { ByteSink } from "../series/columns/byte-sink.ts";
import { ByteSource } from "../series/columns/byte-source.ts";
import type { FeatureManifest, Piece } from "./format.ts";

/**
 * Where a version's manifest and chunks lay when it was published, so that a load need not wait for the index. It is
 * never believed: whoever reads there compares checksums and digests, and asks the index where they do not hold.
 *
 *     placement = varint packCount, packCount × pack id u64, manifest, run*
 *       manifest = varint pack, varint offset, varint frameBytes; pack is 1 + its place in the list, 0 alone for none
 *       run      = varint skipped, varint count, varint pack, varint offset [varint frameBytes]
 *
 * Runs go through the manifest's pieces in their order: `skipped` without a place, then `count` stored as they are, one
 * behind the other. A count of 0 is one piece in a frame of `frameBytes` that is decoded without another chunk.
 */
export interface Placement {
  manifest: FramePlace | undefined;
  runs: PlacedRun[];
}

export type FramePlace = Pick<ChunkEntry, "packId" | "offset" | "frameBytes">;

interface PlacedRun {
  skipped: number;
  packId: bigint;
  offset: number;
  count: number;
  /** Of the one piece when `count` is 0. */
  frameBytes: number;
}

/** All pieces a table is read from, in the order of the manifest. */
export function* piecesOf({ columns, tail }: Pick<FeatureManifest, "columns" | "tail">): Iterable<Piece> {
  for (const column of columns) for (const chunk of column.chunks) yield* chunk.pieces;
  for (const group of tail) yield* group.pieces;
}

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

/** What the bytes say; nothing at all when they are not what a writer writes: they are never needed. */
export function decodePlacement(bytes: Uint8Array): Placement {
  try {
    return readPlacement(new ByteSource("placement", bytes));
  } catch {
    return { manifest: undefined, runs: [] };
  }
}

function readPlacement(source: ByteSource): Placement {
  const packCount = source.varint(Math.floor(source.left / 8));
  const packs = Array.from({ length: packCount }, () => Buffer.from(source.bytes(8)).readBigUInt64LE());
  const pack = () => {
    const at = source.varint(packCount);
    return at === 0 ? undefined : packs[at - 1];
  };
  const number = () => source.varint(Number.MAX_SAFE_INTEGER);
  const manifestPack = pack();
  const manifest =
    manifestPack === undefined ? undefined : { packId: manifestPack, offset: number(), frameBytes: number() };
  const runs: PlacedRun[] = [];
  while (source.left > 0) {
    const [skipped, count] = [number(), number()];
    const packId = pack();
    if (packId === undefined) throw source.corrupt("a run in no pack");
    const offset = number();
    runs.push({ skipped, count, packId, offset, frameBytes: count === 0 ? number() : 0 });
  }
  return { manifest, runs };
}

/** The place of each piece that has one. Runs that go on past the last piece say nothing more. */
export function* placesOf(
  { runs }: Placement,
  pieces: Iterable<Piece>,
): Iterable<{ digest: Uint8Array; entry: FramePlace & { rawBytes: number } }> {
  const left = pieces[Symbol.iterator]();
  for (const { skipped, count, packId, offset, frameBytes } of runs) {
    for (let i = 0; i < skipped; i++) if (left.next().done) return;
    let at = offset;
    for (let i = 0; i < Math.max(1, count); i++) {
      const piece = left.next();
      if (piece.done) return;
      const { digest, rawBytes } = piece.value;
      const ownBytes = count === 0 ? frameBytes : storedFrameBytes(rawBytes);
      yield { digest, entry: { packId, offset: at, frameBytes: ownBytes, rawBytes } };
      at += ownBytes;
    }
  }
}
