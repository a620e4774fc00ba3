import { type Codec, loadCodec } from "../../codec/codec.ts";
import type { ColumnType, ColumnValues } from "./column.ts";
import { writeColumn } from "./column-writer.ts";
import { type ColumnBytes, ColumnsDecoder } from "./columns-decoder.ts";

export interface EncodeOptions {
  /** `light` decodes at memory speed and by 1,024 rows, `compact` takes less room. Default `compact`. */
  profile?: "light" | "compact";
}

/** A column as stored: what a segment keeps are name, type and bytes; the rest can be read from them. */
export interface EncodedColumn extends ColumnBytes {
  /** How it is stored, for people: `decimal(2) delta compact`. */
  encoding: string;
  /** Columns that must be at hand to decode this one. */
  dependsOn: string[];
}

/** Turns columns into bytes and back. Not reentrant; one per thread. */
export interface ColumnCodec {
  /**
   * Encodes columns of equal length, each in the smallest way found. The columns are not kept, the bytes are the
   * caller's.
   * @throws StoreError ERR_INVALID_ARGUMENT for columns of unequal length, two of one name, or a wrong array.
   */
  encode(columns: readonly ColumnValues[], options?: EncodeOptions): EncodedColumn[];
  /**
   * Reads encoded columns of `rows` rows. Nothing is decoded before it is asked for; the bytes are kept, not copied.
   * @throws StoreError ERR_STORE_CORRUPT, here or later, for bytes that no encoder writes.
   */
  decoder(columns: readonly ColumnBytes[], rows: number): ColumnsDecoder;
}

/** Loads the kernels and compressors, once per thread. */
export function loadColumnCodec(): Promise<ColumnCodec> {
  loading ??= load();
  return loading;
}
let loading: Promise<ColumnCodec> | undefined;

async function load(): Promise<ColumnCodec> {
  const codec = await loadCodec();
  return {
    encode: (columns, options) => encode(codec, columns, options),
    decoder: (columns, rows) => new ColumnsDecoder(codec, columns, rows),
  };
}

function encode(
  codec: Codec,
  columns: readonly ColumnValues[],
  options: EncodeOptions = {},
): EncodedColumn[] {
  const profile = options.profile ?? "compact";
  return columns.map((column) => {
    const type: ColumnType = column.type;
    return { name: column.name, type, dependsOn: [], ...writeColumn(codec, column, profile) };
  });
}
