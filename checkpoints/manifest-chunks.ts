import { readManifest } from "./manifest-reader.ts";
import type { NodeSource } from "./node.ts";

/** Every chunk a version needs for its own sake: the manifest's nodes and what they list. */
export function* manifestChunks(chunks: NodeSource, root: Uint8Array): Iterable<Uint8Array> {
  const { files, nodes } = readManifest(chunks, root);
  yield nodes.root;
  for (const layout of nodes.layouts) if (layout !== undefined) yield layout;
  for (const leaves of nodes.leaves) yield* leaves;
  yield* nodes.pieces;
  for (const file of files) for (const chunk of file.chunks) yield chunk.digest;
}
