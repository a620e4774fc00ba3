import type { WantedChunk } from "../chunks/stored-runs.ts";
import { StoreError } from "../errors.ts";
import { numbersOf, numberWidth } from "../series/columns/column.ts";
import { EncodedChunks } from "./encoded-chunks.ts";
import {
  type ColumnManifest,
  chunkBounds,
  corruptManifest,
  type FeatureManifest,
  type FeatureTable,
  type Piece,
  PLAIN,
} from "./format.ts";
import { TableMemory } from "./table-memory.ts";
import { putTail, readTails, type TailColumn } from "./tail-reader.ts";

/** Where a table's chunks come from: by the index, or by the places noted of them. */
export interface TableReader {
  readInto(digest: Uint8Array, target: Uint8Array): void | Promise<void>;
  readManyInto(
    wanted: readonly WantedChunk[],
    onRead?: (chunk: WantedChunk, bytes: Uint8Array) => void,
  ): Promise<void>;
}

/**
 * Decodes a version's table, or the columns named, over one buffer: numbers are read or decoded straight into their
 * place, read ahead by other threads.
 * @throws `ERR_STORE_CORRUPT`; `ERR_NOT_FOUND` for a column there is not
 */
export async function loadTable(
  chunks: TableReader,
  manifest: FeatureManifest,
  columns?: readonly string[],
): Promise<FeatureTable> {
  const chosen =
    columns === undefined ? manifest.columns : columns.map((name) => columnNamed(manifest, name));
  const { rows } = manifest;
  const memory = new TableMemory(chosen, rows);
  const { bounds, tailFrom } = chunkBounds(rows);
  const plain: WantedChunk[] = [];
  const encoded = new EncodedChunks();
  chosen.forEach((column, at) => {
    const addEncoded = encoded.column(() => memory.column(at));
    bounds.forEach(([from, to], chunk) => {
      const { form, pieces } = column.chunks[chunk]!;
      if (form === PLAIN) plain.push(...plainPieces(column, pieces, { memory, at, from, to }));
      else addEncoded(pieces, from, to);
    });
  });
  // Both at once: what is plain comes while the codec is loaded and decodes.
  let tails: Map<string, TailColumn> | undefined;
  const readTail = async () => {
    if (tailFrom === rows) return;
    tails = await readTails(manifest, rows - tailFrom, (piece, target) => chunks.readInto(piece, target));
  };
  await allOf([chunks.readManyInto(plain), readEncoded(chunks, encoded), readTail()]);
  const out = chosen.map((_, at) => memory.column(at));
  if (tails !== undefined) for (const column of out) putTail(column, tails.get(column.name)!, tailFrom);
  chosen.forEach(({ name, textBytes }, at) => {
    const { offsets } = out[at]!;
    if (offsets === undefined || offsets[rows] === textBytes) return;
    const found = `column ${JSON.stringify(name)} has ${offsets[rows]} bytes of text, not ${textBytes}`;
    throw corruptManifest(found);
  });
  return { rows, columns: out };
}

function columnNamed(manifest: FeatureManifest, name: string): ColumnManifest {
  const found = manifest.columns.find((column) => column.name === name);
  if (found !== undefined) return found;
  const names = manifest.columns.map((column) => column.name);
  throw new StoreError("ERR_NOT_FOUND", `the table has no column ${JSON.stringify(name)}`, {
    context: { column: name, columns: names },
    hint: `Its columns are ${names.slice(0, 20).join(", ")}.`,
  });
}

/** The pieces of a chunk of plain numbers, each with its place. */
function plainPieces(
  { name, type }: ColumnManifest,
  pieces: Piece[],
  { memory, at, from, to }: { memory: TableMemory; at: number; from: number; to: number },
): WantedChunk[] {
  const numbers = numbersOf(type);
  if (numbers === undefined) throw corruptManifest(`column ${JSON.stringify(name)} has no plain form`);
  const sizeBytes = (to - from) * numbers.perRow * numberWidth(numbers.type);
  let end = 0;
  const wanted = pieces.map(({ digest, rawBytes }) => {
    const start = end;
    end += rawBytes;
    const target = () => memory.numbers(at, from, to).subarray(start, start + rawBytes);
    return { digest, rawBytes, target };
  });
  if (end === sizeBytes) return wanted;
  const more = end > sizeBytes ? "more" : "fewer";
  throw corruptManifest(`a chunk of column ${JSON.stringify(name)} holds ${more} rows than its place`);
}

async function readEncoded(chunks: TableReader, encoded: EncodedChunks): Promise<void> {
  const wanted = encoded.wanted();
  if (wanted.length === 0) return;
  const { loadColumnCodec } = await import("../series/columns/column-codec.ts");
  const codec = await loadColumnCodec();
  await chunks.readManyInto(wanted, (piece) => encoded.take(codec, piece));
}

/** Like `Promise.all`, but ends when all have ended: until then other threads may write to the memory. */
async function allOf(work: Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(work)).find((each) => each.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}
