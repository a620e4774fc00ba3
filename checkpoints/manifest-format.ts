/**
 * A manifest: the content-addressed list of a version's files, tensors and chunks. It is made of nodes, each stored
 * as a chunk, so that versions share the nodes in which they agree, and a changed node is stored against its
 * parent's. `docs/formats/manifest.md` has a worked example.
 *
 *     root   = "VMF1" varint(fileCount) file*
 *     file   = byte(kind) text(name) varint(sizeBytes) [kind tensors: text(format) layoutDigest varint(layoutBytes)]
 *              varint(chunkCount) list
 *     list   = entries                              when chunkCount <= 128
 *            | leafDigest{ceil(chunkCount / 128)}   else
 *     leaf   = "VML1" entries                       128 chunks, the last leaf fewer
 *     entries = [kind other than tensors: varint(rawBytes){n}] digest{n}
 *
 *     blob   = "VBL1" varint(size in bytes) digest{ceil(size / 1 MiB)}   stands for a root or layout over 1 MiB
 *
 *     layout = ("VLY1" | "VLY2") varint(spanCount) span*
 *     span   = varint(skeleton bytes before it) text(tensor name) byte(dtype) varint(rank) varint(axis){rank}
 *
 * VLY2 says that weights and their optimizer state were put together into chunks (checkpoints/chunk-plan.ts).
 * kind is 0 for an opaque file, 1 for a file of tensors, 2 for a resume blob (no file: its name is empty).
 * A text is its UTF-8 length as a varint, then the UTF-8. A dtype is its place in `DTYPES` (formats/tensor.ts).
 * A tensor file's chunk sizes follow from its layout (checkpoints/chunk-plan.ts), the others' are listed.
 */
import type { FileLayout } from "../formats/layout.ts";

export const MANIFEST_MAGIC = "VMF1";
export const LEAF_MAGIC = "VML1";
export const LAYOUT_MAGIC = "VLY1";
/** The same, of a file whose families are together (StoredLayout). */
export const FAMILY_LAYOUT_MAGIC = "VLY2";
export const BLOB_MAGIC = "VBL1";

/** Chunks in one leaf: 4 KiB of digests, so that a single changed chunk rewrites little. */
export const LEAF_CHUNKS = 128;

export const FILE_KINDS = ["opaque", "tensors", "resume"] as const;
export type FileKind = (typeof FILE_KINDS)[number];

export interface ChunkRef {
  digest: Uint8Array;
  rawBytes: number;
}

/** A file's layout, and by which rule its tensors were put together into chunks (checkpoints/chunk-plan.ts). */
export interface StoredLayout extends FileLayout {
  /** A weight and its optimizer state, small and next to each other, share a chunk or have one each. */
  familiesTogether?: boolean;
}

export interface ManifestFile {
  kind: FileKind;
  name: string;
  sizeBytes: number;
  /** Files of tensors only. */
  layout?: StoredLayout;
  /** In file order, covering the file. */
  chunks: ChunkRef[];
}

export interface Manifest {
  files: ManifestFile[];
  nodes: ManifestNodes;
}

/** The chunks that describe the version: what its successor's nodes are stored against, and what gc must keep. */
export interface ManifestNodes {
  root: Uint8Array;
  /** By place of the file in the manifest. */
  layouts: (Uint8Array | undefined)[];
  leaves: Uint8Array[][];
  /** Pieces of the nodes that were too large for one chunk. */
  pieces: Uint8Array[];
}
