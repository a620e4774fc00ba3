import { CHUNK_BYTES_MAX, FEATURE_MANIFEST_BYTES_MAX } from "../limits.ts";
import { ByteSource } from "../series/columns/byte-source.ts";
import { type FeatureManifest, MANIFEST_LIST_MAGIC, piecesOf } from "./format.ts";
import { decodeManifest } from "./manifest-reader.ts";

/** Where chunks are read from: the chunk store, or what `check` rebuilt from the packs. */
export interface ChunkSource {
  read(digest: Uint8Array): Uint8Array;
}

/** Whether these are not a manifest's bytes but the list of its pieces. */
export function isManifestList(bytes: Uint8Array): boolean {
  return (
    Buffer.from(bytes.subarray(0, MANIFEST_LIST_MAGIC.length)).toString("latin1") === MANIFEST_LIST_MAGIC
  );
}

/** A version's manifest, and the digests of the pieces of a large one. */
export function readFeatureManifest(
  chunks: ChunkSource,
  digest: Uint8Array,
): { manifest: FeatureManifest; pieces: Uint8Array[] } {
  const bytes = chunks.read(digest);
  if (!isManifestList(bytes)) return { manifest: decodeManifest(bytes), pieces: [] };
  const list = new ByteSource("feature manifest", bytes);
  list.bytes(MANIFEST_LIST_MAGIC.length);
  const sizeBytes = list.varint(FEATURE_MANIFEST_BYTES_MAX);
  const whole = Buffer.allocUnsafe(sizeBytes);
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < sizeBytes; at += CHUNK_BYTES_MAX) {
    const pieceDigest = new Uint8Array(list.bytes(32));
    const piece = chunks.read(pieceDigest);
    if (piece.byteLength !== Math.min(CHUNK_BYTES_MAX, sizeBytes - at))
      throw list.corrupt("a piece of another size");
    whole.set(piece, at);
    pieces.push(pieceDigest);
  }
  list.finish();
  return { manifest: decodeManifest(whole), pieces };
}

/** Every chunk a version needs for its own sake: the manifest and what it lists. */
export function* featureChunks(chunks: ChunkSource, digest: Uint8Array): Iterable<Uint8Array> {
  const { manifest, pieces } = readFeatureManifest(chunks, digest);
  yield digest;
  yield* pieces;
  for (const piece of piecesOf(manifest)) yield piece.digest;
}
