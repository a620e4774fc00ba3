import { DIGEST_BYTES, sameDigest } from "../src/chunks/digest.ts";
import { CHUNK_BYTES_MAX } from "../src/limits.ts";
import { ByteReader } from "./byte-reader.ts";
import { planChunks } from "./chunk-plan.ts";
import { decodeLayout } from "./layout-node.ts";
import { ListedChunk } from "./listed-chunk.ts";
import {
  type ChunkRef,
  FILE_KINDS,
  type FileKind,
  LEAF_CHUNKS,
  LEAF_MAGIC,
  MANIFEST_MAGIC,
  type Manifest,
  type ManifestFile,
  type ManifestNodes,
  type StoredLayout,
} from "./manifest-format.ts";
import { type NodeSource, readNode } from "./node.ts";

/** A layout that was read, and the chunks it gives a file of a size: versions of a model have it in common. */
export interface KnownLayout {
  digest: Uint8Array;
  sizeBytes: number;
  layout: StoredLayout;
  sizes: number[];
}

/**
 * @param known the layout read last, for a caller that reads manifests of one model; it is kept up to date
 * @throws `ERR_STORE_CORRUPT` when a node is missing, damaged or contradicts another.
 */
export function readManifest(
  chunks: NodeSource,
  root: Uint8Array,
  known: { last?: KnownLayout } = {},
): Manifest {
  const nodes: ManifestNodes = { root, layouts: [], leaves: [], pieces: [] };
  const reader = new ByteReader(readNode(chunks, root, nodes.pieces), "manifest");
  reader.magic(MANIFEST_MAGIC);
  const fileCount = reader.count(4);
  const files: ManifestFile[] = [];
  for (let i = 0; i < fileCount; i++) files.push(readFile(chunks, reader, nodes, known));
  reader.end();
  return { files, nodes };
}

function readFile(
  chunks: NodeSource,
  reader: ByteReader,
  nodes: ManifestNodes,
  known: { last?: KnownLayout },
): ManifestFile {
  const kind = FILE_KINDS[reader.byte()] ?? reader.fail("an unknown kind of file");
  const name = reader.text();
  const sizeBytes = reader.varint();
  const file: ManifestFile = { kind, name, sizeBytes, chunks: [] };
  let planned: number[] | undefined;
  if (kind === "tensors") {
    const format = reader.text();
    const digest = copy(reader.raw(DIGEST_BYTES));
    const layoutBytes = reader.varint();
    const node = readNode(chunks, digest, nodes.pieces);
    if (node.byteLength !== layoutBytes) reader.fail("a layout of another size");
    if (!isKnown(known.last, digest, format, sizeBytes)) {
      const layout = decodeLayout(node, format);
      const sizes = planChunks(layout, sizeBytes).map((chunk) => chunk.rawBytes);
      known.last = { digest, sizeBytes, layout, sizes };
    }
    file.layout = known.last!.layout;
    planned = known.last!.sizes;
    nodes.layouts.push(digest);
  } else {
    nodes.layouts.push(undefined);
  }
  const chunkCount = reader.varint();
  if (planned !== undefined && planned.length !== chunkCount)
    reader.fail("a chunk count its layout does not give");
  file.chunks = readChunks(chunks, reader, { kind, chunkCount, planned, nodes });
  if (file.chunks.reduce((sum, chunk) => sum + chunk.rawBytes, 0) !== sizeBytes) {
    reader.fail(`chunks of ${JSON.stringify(name)} that do not add up to its size`);
  }
  return file;
}

function isKnown(
  last: KnownLayout | undefined,
  digest: Uint8Array,
  format: string,
  sizeBytes: number,
): boolean {
  if (last === undefined || last.sizeBytes !== sizeBytes || last.layout.format !== format) return false;
  return sameDigest(last.digest, digest);
}

interface ListContext {
  kind: FileKind;
  chunkCount: number;
  planned: number[] | undefined;
  nodes: ManifestNodes;
}

function readChunks(chunks: NodeSource, reader: ByteReader, context: ListContext): ChunkRef[] {
  const { chunkCount, planned, nodes } = context;
  const leaves: Uint8Array[] = [];
  nodes.leaves.push(leaves);
  if (chunkCount <= LEAF_CHUNKS) return readEntries(reader, chunkCount, planned);
  const list: ChunkRef[] = [];
  for (let start = 0; start < chunkCount; start += LEAF_CHUNKS) {
    const digest = copy(reader.raw(DIGEST_BYTES));
    leaves.push(digest);
    const leaf = new ByteReader(chunks.read(digest), "manifest leaf");
    leaf.magic(LEAF_MAGIC);
    const count = Math.min(LEAF_CHUNKS, chunkCount - start);
    for (const chunk of readEntries(leaf, count, planned?.slice(start, start + count))) list.push(chunk);
    leaf.end();
  }
  return list;
}

function readEntries(reader: ByteReader, count: number, planned: number[] | undefined): ChunkRef[] {
  const sizes = planned ?? Array.from({ length: count }, () => reader.varint());
  // One copy for all of them: a digest with memory of its own takes several times its 32 bytes.
  const digests = copy(reader.raw(count * DIGEST_BYTES));
  return sizes.map((rawBytes, i) => {
    if (rawBytes > CHUNK_BYTES_MAX) reader.fail(`a chunk of ${rawBytes} bytes`);
    return new ListedChunk(digests, i, rawBytes);
  });
}

/** Nodes belong to the reader's cache; a digest taken from one must not keep it alive. */
function copy(digest: Uint8Array): Uint8Array {
  return new Uint8Array(digest);
}
