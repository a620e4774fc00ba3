import type { ChunkSave } from "../chunks/chunk-save.ts";
import type { ChunkStore } from "../chunks/chunk-store.ts";
import { digestKey } from "../chunks/digest.ts";
import { loadCodec } from "../codec/codec.ts";
import { isStoreError, StoreError } from "../errors.ts";
import {
  CHUNK_BYTES_MAX,
  FEATURE_MANIFEST_BYTES_MAX,
  FEATURE_ROWS_MAX,
  TABLE_COLUMNS_MAX,
} from "../limits.ts";
import { ByteSink } from "../series/columns/byte-sink.ts";
import { bytesOf } from "../series/columns/column.ts";
import { type ColumnCodec, loadColumnCodec } from "../series/columns/column-codec.ts";
import { readFeatureManifest } from "./feature-chunks.ts";
import {
  type ColumnChunk,
  type ColumnManifest,
  chunkBounds,
  ENCODED,
  type FeatureColumn,
  type FeatureManifest,
  type FeatureTable,
  MANIFEST_LIST_MAGIC,
  type Piece,
  PLAIN,
  piecesOf,
  type TailGroup,
} from "./format.ts";
import { encodeManifest } from "./manifest-writer.ts";
import { encodePlacement } from "./placement-writer.ts";
import { cutRows, plainBytes } from "./row-chunks.ts";

/**
 * Stores a table's chunks and its manifest, and returns the manifest's digest and where all lies. What the store has already costs
 * nothing; the tail and the manifest are stored against the parent's.
 * @throws `ERR_LIMIT`, `ERR_INVALID_ARGUMENT`
 */
export async function storeTable(
  chunks: ChunkStore,
  save: ChunkSave,
  table: FeatureTable,
  parentDigest: Uint8Array | undefined,
): Promise<{ manifest: Uint8Array; placement: Uint8Array }> {
  checkTable(table);
  // What is small is stored as its difference from the parent's.
  await (await loadCodec()).loadDeltas();
  const codec = await loadColumnCodec();
  const parent = readParent(chunks, parentDigest);
  const { bounds, tailFrom } = chunkBounds(table.rows);
  const columns: ColumnManifest[] = [];
  for (const column of table.columns) columns.push(await storeColumn(save, codec, column, bounds));
  const tail = tailFrom === table.rows ? [] : await storeTail(save, table, tailFrom, parent?.tail ?? []);
  const bytes = encodeManifest({ rows: table.rows, columns, tail });
  const pieces = [...piecesOf({ columns, tail })];
  const resembles = parent !== undefined && sharesHalf(pieces, parent);
  const manifest = await putManifest(save, bytes, resembles ? parentDigest : undefined);
  return { manifest, placement: encodePlacement(manifest, pieces, (digest) => save.entryOf(digest)) };
}

/** A manifest of other chunks is hardly smaller beside its parent's, and would have to be looked up with it. */
function sharesHalf(pieces: readonly Piece[], parent: FeatureManifest): boolean {
  const known = new Set([...piecesOf(parent)].map(({ digest }) => digestKey(digest)));
  const shared = pieces.filter(({ digest }) => known.has(digestKey(digest)));
  return shared.length * 2 >= pieces.length;
}

/** A parent that cannot be read costs bytes, not the publication. */
function readParent(chunks: ChunkStore, digest: Uint8Array | undefined): FeatureManifest | undefined {
  if (digest === undefined) return undefined;
  try {
    return readFeatureManifest(chunks, digest).manifest;
  } catch (error) {
    if (isStoreError(error, "ERR_STORE_CORRUPT")) return undefined;
    throw error;
  }
}

function checkTable({ rows, columns }: FeatureTable): void {
  if (rows > FEATURE_ROWS_MAX || columns.length > TABLE_COLUMNS_MAX) {
    throw new StoreError(
      "ERR_LIMIT",
      `a feature table has ${rows} rows and ${columns.length} columns; the limits are ${FEATURE_ROWS_MAX} and ${TABLE_COLUMNS_MAX}`,
      { hint: "Publish it as several tables." },
    );
  }
  const names = new Set<string>();
  for (const { name, rows: own } of columns) {
    if (own !== rows) {
      throw new StoreError(
        "ERR_INVALID_ARGUMENT",
        `column ${JSON.stringify(name)} has ${own} rows, the table ${rows}`,
        {
          context: { column: name },
          hint: "All columns of a table are of equal length.",
        },
      );
    }
    if (name === "" || names.has(name)) {
      throw new StoreError(
        "ERR_INVALID_ARGUMENT",
        `two columns are named ${JSON.stringify(name)}, or one has no name`,
        {
          context: { column: name },
          hint: "Give each column a name of its own.",
        },
      );
    }
    names.add(name);
  }
}

async function storeColumn(
  save: ChunkSave,
  codec: ColumnCodec,
  column: FeatureColumn,
  bounds: [number, number][],
): Promise<ColumnManifest> {
  const { name, type, unit, offsets, rows, validity } = column;
  const chunks: ColumnChunk[] = [];
  for (const [from, to] of bounds) {
    chunks.push(await storeChunk(save, codec, column, from, to));
    // A large table takes seconds to encode: the event loop gets its turns.
    await new Promise(setImmediate);
  }
  return {
    name,
    type,
    ...(unit === undefined ? {} : { unit }),
    textBytes: offsets === undefined ? 0 : offsets[rows]! - offsets[0]!,
    hasNulls: validity !== undefined,
    chunks,
  };
}

/** What an encoded chunk may take of the plain one at most: plain ones are read into place, as fast as the disk is. */
const WORTH_UNPACKING = 0.6;
/** The same for what is not bit-packed: decoding that takes several times as long as reading the plain numbers. */
const WORTH_DECODING = 0.15;

async function storeChunk(
  save: ChunkSave,
  codec: ColumnCodec,
  column: FeatureColumn,
  from: number,
  to: number,
): Promise<ColumnChunk> {
  const rows = cutRows(column, from, to);
  const { bytes, encoding } = codec.encode([rows], { profile: "light" })[0]!;
  const worth = encoding.split(" ").includes("light") ? WORTH_UNPACKING : WORTH_DECODING;
  const plain = plainBytes(rows);
  if (plain !== undefined && bytes.byteLength > plain.byteLength * worth) {
    return { form: PLAIN, pieces: await putPieces(save, plain) };
  }
  return { form: ENCODED, pieces: await putPieces(save, bytes) };
}

async function putPieces(save: ChunkSave, bytes: Uint8Array): Promise<Piece[]> {
  const pieces: Piece[] = [];
  for (let at = 0; at < bytes.byteLength; at += CHUNK_BYTES_MAX) {
    const piece = bytes.subarray(at, at + CHUNK_BYTES_MAX);
    pieces.push({ rawBytes: piece.byteLength, digest: await save.putAsIs(piece) });
  }
  return pieces;
}

/** The rows after the last chunk: columns together up to a chunk's size, stored against the parent's same group. */
async function storeTail(
  save: ChunkSave,
  { rows, columns }: FeatureTable,
  tailFrom: number,
  parent: TailGroup[],
): Promise<TailGroup[]> {
  const groups: TailGroup[] = [];
  let waiting: Uint8Array[] = [];
  let sizeBytes = 0;
  const flush = async () => {
    const base = parent[groups.length];
    const bytes = Buffer.concat(waiting);
    const pieces: Piece[] = [];
    for (let at = 0; at < bytes.byteLength; at += CHUNK_BYTES_MAX) {
      const piece = bytes.subarray(at, at + CHUNK_BYTES_MAX);
      const bases = base?.pieces[pieces.length];
      const digest = await save.put(piece, bases === undefined ? [] : [bases.digest]);
      pieces.push({ rawBytes: piece.byteLength, digest });
    }
    groups.push({ columns: waiting.length, pieces });
    waiting = [];
    sizeBytes = 0;
  };
  for (const column of columns) {
    const bytes = tailBytes(column, tailFrom, rows);
    if (waiting.length > 0 && sizeBytes + bytes.byteLength > CHUNK_BYTES_MAX) await flush();
    waiting.push(bytes);
    sizeBytes += bytes.byteLength;
  }
  if (waiting.length > 0) await flush();
  return groups;
}

function tailBytes(column: FeatureColumn, from: number, to: number): Uint8Array {
  const { values, offsets, validity } = cutRows(column, from, to);
  const sink = new ByteSink();
  const nulls = validity === undefined ? undefined : lastBitsZero(validity, to - from);
  sink.varint(nulls?.byteLength ?? 0);
  if (nulls !== undefined) sink.bytes(nulls);
  const bytes = column.type === "bool" ? lastBitsZero(values as Uint8Array, to - from) : bytesOf(values);
  sink.varint(bytes.byteLength).bytes(bytes);
  if (offsets !== undefined) sink.bytes(bytesOf(offsets));
  return sink.finish();
}

/** Bits past the last row mean nothing: zeros, so that equal tables are equal bytes. */
function lastBitsZero(bitmap: Uint8Array, rows: number): Uint8Array {
  const bits = bitmap.slice();
  if ((rows & 7) !== 0) bits[bits.length - 1]! &= (1 << (rows & 7)) - 1;
  return bits;
}

/** One chunk, or pieces and a chunk that lists them: magic, varint size, digests. */
async function putManifest(
  save: ChunkSave,
  bytes: Uint8Array,
  parent: Uint8Array | undefined,
): Promise<Uint8Array> {
  if (bytes.byteLength <= CHUNK_BYTES_MAX) {
    // Digests do not compress: as it is, it is read without the codec.
    return parent === undefined ? save.putAsIs(bytes) : save.put(bytes, [parent]);
  }
  if (bytes.byteLength > FEATURE_MANIFEST_BYTES_MAX) {
    throw new StoreError(
      "ERR_LIMIT",
      `the table's manifest takes ${bytes.byteLength} bytes; the limit is ${FEATURE_MANIFEST_BYTES_MAX}`,
      {
        hint: "Publish it as several tables.",
      },
    );
  }
  const list = new ByteSink().bytes(Buffer.from(MANIFEST_LIST_MAGIC)).varint(bytes.byteLength);
  for (let at = 0; at < bytes.byteLength; at += CHUNK_BYTES_MAX) {
    list.bytes(await save.put(bytes.slice(at, at + CHUNK_BYTES_MAX)));
  }
  return save.put(list.finish());
}
