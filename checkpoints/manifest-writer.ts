import type { ChunkSave } from "../src/chunks/chunk-save.ts";
import { ByteWriter } from "./byte-writer.ts";
import { encodeLayout } from "./layout-node.ts";
import {
  type ChunkRef,
  FILE_KINDS,
  type FileKind,
  LEAF_CHUNKS,
  LEAF_MAGIC,
  MANIFEST_MAGIC,
  type Manifest,
  type ManifestFile,
} from "./manifest-format.ts";
import { putNode } from "./node.ts";

/**
 * Stores a manifest's nodes, each against the parent version's node in the same place, and returns the root's digest.
 * Children go before the nodes that name them.
 */
export async function writeManifest(
  save: ChunkSave,
  files: ManifestFile[],
  parent: Manifest | undefined,
): Promise<Uint8Array> {
  const root = new ByteWriter().raw(Buffer.from(MANIFEST_MAGIC)).varint(files.length);
  for (const file of files) {
    const parentPlace =
      parent?.files.findIndex((each) => each.kind === file.kind && each.name === file.name) ?? -1;
    const parentLayout = parent?.nodes.layouts[parentPlace];
    const parentLeaves = parent?.nodes.leaves[parentPlace] ?? [];
    root.byte(FILE_KINDS.indexOf(file.kind)).text(file.name).varint(file.sizeBytes);
    if (file.layout !== undefined) {
      const layout = encodeLayout(file.layout);
      const digest = await putNode(save, layout, parentLayout === undefined ? [] : [parentLayout]);
      root.text(file.layout.format).raw(digest).varint(layout.byteLength);
    }
    root.varint(file.chunks.length);
    if (file.chunks.length <= LEAF_CHUNKS) {
      root.raw(encodeEntries(file.kind, file.chunks));
      continue;
    }
    for (let start = 0; start < file.chunks.length; start += LEAF_CHUNKS) {
      const entries = encodeEntries(file.kind, file.chunks.slice(start, start + LEAF_CHUNKS));
      const leaf = new ByteWriter().raw(Buffer.from(LEAF_MAGIC)).raw(entries).finish();
      const base = parentLeaves[start / LEAF_CHUNKS];
      root.raw(await save.put(leaf, base === undefined ? [] : [base]));
    }
  }
  return putNode(save, root.finish(), parent === undefined ? [] : [parent.nodes.root]);
}

function encodeEntries(kind: FileKind, chunks: ChunkRef[]): Uint8Array {
  const writer = new ByteWriter();
  if (kind !== "tensors") for (const chunk of chunks) writer.varint(chunk.rawBytes);
  for (const chunk of chunks) writer.raw(chunk.digest);
  return writer.finish();
}
