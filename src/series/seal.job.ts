import type { Disk } from "../disk/disk.ts";
import { realDisk } from "../disk/real-disk.ts";
import { replaceFile } from "../disk/replace-file.ts";
import { StoreError } from "../errors.ts";
import type { Job } from "../workers/job.ts";
import { type ColumnSlice, concatenate } from "./column-slice.ts";
import type { ColumnValues } from "./columns/column.ts";
import { type ColumnCodec, type EncodedColumn, loadColumnCodec } from "./columns/column-codec.ts";
import type { Recipes } from "./columns/recipe.ts";
import { recipesWithin } from "./columns/recipe-check.ts";
import { HotReader } from "./hot-segment.ts";
import { isFloatIn, type Schema } from "./schema.ts";
import { hotFileName, segmentFileName } from "./segment-format.ts";
import { codecType, encodeSegment } from "./segment-writer.ts";

/** Seals a full hot file, on a worker. */
export const sealJob: Job = { url: import.meta.url, name: "sealSegment" };

export interface SealRequest {
  directory: string;
  storeId: Uint8Array;
  firstRow: number;
  /** Rows the writer has put into the segment: the file must give exactly these. */
  rows: number;
  profile: "light" | "compact";
  /** Recipes of the series; those that the segment's columns do not fit are left out. */
  derive?: Recipes;
  /** The writer's disk, where jobs run on its thread; the operating system's otherwise. */
  disk?: Disk;
}

export interface SealResult {
  sizeBytes: number;
}

/**
 * Reads a hot file, encodes its rows, and puts a sealed segment in its place: written and synced beside its name,
 * renamed, the directory synced, and only then the hot file removed. A crash at any point leaves one of the two whole.
 * What was encoded is decoded again and compared before it counts.
 */
export async function sealSegment(request: SealRequest): Promise<SealResult> {
  const { directory, storeId, firstRow, rows, profile, derive = {}, disk = realDisk } = request;
  const hotPath = `${directory}/${hotFileName(firstRow)}`;
  const codec = await loadColumnCodec();
  const { schema, slices } = readHot(disk, hotPath, rows);
  // A segment may be older than the columns that the recipes are about.
  const recipes = recipesWithin(derive, isFloatIn(schema));
  const encoded = codec.encode(slices.map(columnValues), { profile, derive: recipes });
  verify(codec, slices, encoded, hotPath);
  const bytes = encodeSegment({ storeId, firstRow, schema, slices, encoded });
  replaceFile(disk, `${directory}/${segmentFileName(firstRow, rows)}`, bytes);
  disk.remove(hotPath);
  return { sizeBytes: bytes.byteLength };
}

function readHot(disk: Disk, path: string, rows: number): { schema: Schema; slices: ColumnSlice[] } {
  const reader = HotReader.open(disk, path);
  if (reader === undefined) throw unreadable(path, "its header is damaged");
  try {
    reader.refresh();
    const { segment } = reader;
    if (segment.rows.rows < rows) {
      throw unreadable(path, `it gives ${segment.rows.rows} of the ${rows} rows that were appended`);
    }
    const { schema } = segment.description;
    const places = schema.columns.map((_, place) => place);
    const runs = [...segment.rows.slices(0, rows, places)];
    const slices = schema.columns.map((column, place) =>
      concatenate(
        column,
        runs.map((run) => run[place]!),
      ),
    );
    return { schema, slices };
  } finally {
    reader.close();
  }
}

function unreadable(path: string, what: string): StoreError {
  return new StoreError("ERR_STORE_CORRUPT", `${path} cannot be sealed: ${what}`, {
    context: { path },
    hint: "The rows before the damage can be read; `varve repair` mends single flipped bits.",
  });
}

function columnValues(slice: ColumnSlice): ColumnValues {
  const { column, rows, values, offsets, validity } = slice;
  return {
    name: column.name,
    type: codecType(column),
    rows,
    values,
    ...(offsets && { offsets }),
    ...(validity && { validity }),
  };
}

/** Decodes what was encoded and compares it bit by bit: an encoder's mistake must not replace good rows. */
function verify(
  codec: ColumnCodec,
  slices: readonly ColumnSlice[],
  encoded: readonly EncodedColumn[],
  path: string,
): void {
  const decoder = codec.decoder(encoded, slices[0]!.rows);
  for (const slice of slices) {
    const { column, rows } = slice;
    const { values, offsets, validity } = decoder.decode(column.name);
    if (!sameColumn(slice, { column, rows, values, offsets, validity })) {
      throw new StoreError("ERR_IO", `${path}: column "${column.name}" does not decode to what was encoded`, {
        context: { path, column: column.name },
        hint: "This is a bug in varve. The rows stay in the hot file.",
      });
    }
  }
}

function sameColumn(a: ColumnSlice, b: ColumnSlice): boolean {
  const { column, rows } = a;
  const valid = (slice: ColumnSlice, row: number) =>
    slice.validity === undefined || ((slice.validity[row >> 3]! >> (row & 7)) & 1) === 1;
  if (a.validity !== undefined || b.validity !== undefined) {
    for (let row = 0; row < rows; row++) if (valid(a, row) !== valid(b, row)) return false;
  }
  const nulls = a.validity !== undefined;
  const bytes = ({ values }: ColumnSlice) =>
    new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const [left, right] = [bytes(a), bytes(b)];
  if (column.type === "bool") {
    const bit = (source: Uint8Array, row: number) => (source[row >> 3]! >> (row & 7)) & 1;
    for (let row = 0; row < rows; row++) {
      if (valid(a, row) && bit(left, row) !== bit(right, row)) return false;
    }
    return true;
  }
  const width = a.offsets === undefined ? left.byteLength / Math.max(1, rows) : 0;
  if (!nulls && a.offsets === undefined) return Buffer.compare(left, right) === 0;
  for (let row = 0; row < rows; row++) {
    if (!valid(a, row)) continue;
    const [aFrom, aTo] = a.offsets
      ? [a.offsets[row]!, a.offsets[row + 1]!]
      : [row * width, (row + 1) * width];
    const [bFrom, bTo] = b.offsets
      ? [b.offsets[row]!, b.offsets[row + 1]!]
      : [row * width, (row + 1) * width];
    if (Buffer.compare(left.subarray(aFrom, aTo), right.subarray(bFrom, bTo)) !== 0) return false;
  }
  return true;
}
