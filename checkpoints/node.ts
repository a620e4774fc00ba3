import type { ChunkSave } from "../src/chunks/chunk-save.ts";
import type { ChunkStore } from "../src/chunks/chunk-store.ts";
import { CHUNK_BYTES_MAX, NODE_BYTES_MAX } from "../src/limits.ts";
import { ByteReader } from "./byte-reader.ts";
import { ByteWriter } from "./byte-writer.ts";
import { BLOB_MAGIC } from "./manifest-format.ts";

/** Stores a node: as one chunk, or, over 1 MiB, as pieces and a chunk that lists them. */
export async function putNode(save: ChunkSave, bytes: Uint8Array, bases: Uint8Array[]): Promise<Uint8Array> {
  if (bytes.byteLength <= CHUNK_BYTES_MAX) return save.put(bytes, bases);
  const list = new ByteWriter().raw(Buffer.from(BLOB_MAGIC)).varint(bytes.byteLength);
  for (let at = 0; at < bytes.byteLength; at += CHUNK_BYTES_MAX) {
    list.raw(await save.put(bytes.slice(at, at + CHUNK_BYTES_MAX)));
  }
  return save.put(list.finish());
}

/** Where nodes are read from: the chunk store, or what `check` rebuilt from the packs. */
export type NodeSource = Pick<ChunkStore, "read">;

/** A node's bytes; digests of the pieces of a large one are added to `pieces`. */
export function readNode(chunks: NodeSource, digest: Uint8Array, pieces: Uint8Array[]): Uint8Array {
  const bytes = chunks.read(digest);
  if (Buffer.from(bytes.subarray(0, BLOB_MAGIC.length)).toString("latin1") !== BLOB_MAGIC) return bytes;
  const reader = new ByteReader(bytes, "blob node");
  reader.magic(BLOB_MAGIC);
  const sizeBytes = reader.varint();
  if (sizeBytes > NODE_BYTES_MAX) reader.fail(`a node of ${sizeBytes} bytes`);
  const whole = Buffer.allocUnsafe(sizeBytes);
  for (let at = 0; at < sizeBytes; at += CHUNK_BYTES_MAX) {
    const pieceDigest = new Uint8Array(reader.raw(32));
    const piece = chunks.read(pieceDigest);
    if (piece.byteLength !== Math.min(CHUNK_BYTES_MAX, sizeBytes - at))
      reader.fail("a piece of another size");
    whole.set(piece, at);
    pieces.push(pieceDigest);
  }
  reader.end();
  return whole;
}
