import { StoreError } from "../../src/errors.ts";
import {
  type Compression,
  collect,
  compress,
  decompress,
  detectCompression,
} from "../compression/streams.ts";
import type { InferredTable, TextTableOptions } from "../csv/text-table.ts";
import type { ColumnField, Table } from "./table.ts";

/** Table files of every format behind one pair of functions; each format is loaded when it is first needed. */
export type TableFormat = "csv" | "ndjson" | "arrow" | "parquet";

/** Where a table file is read from. */
export interface TableSource {
  /** What it is called, for messages and to tell its format by. */
  name: string;
  /** The whole file from its start; called once for each pass. */
  stream(): AsyncIterable<Uint8Array>;
}

export interface ReadTablesOptions extends TextTableOptions {
  /** Default: by the file's first bytes, else by its name. */
  format?: TableFormat;
  /** CSV: one character. Default: a comma, a tab for `.tsv`. */
  delimiter?: string;
  /** CSV and NDJSON: types that are known, by column; the others are inferred. */
  types?: Record<string, ColumnField["type"]>;
}

export interface OpenedTables {
  format: TableFormat;
  compression: Compression;
  /** Known beforehand for text formats, which are read once to find their types. */
  fields: ColumnField[];
  /** The rows, a batch at a time; may be called once. */
  batches(): AsyncGenerator<Table>;
}

/**
 * Opens a table file, compressed or not. Text formats are read twice: once to find the columns' types, once for the
 * rows; Arrow and Parquet are held in memory whole.
 * @throws `ERR_FORMAT_CSV`, `ERR_FORMAT_NDJSON`, `ERR_FORMAT_ARROW`, `ERR_FORMAT_PARQUET`, `ERR_FORMAT_COMPRESSED`
 */
export async function openTables(
  source: TableSource,
  options: ReadTablesOptions = {},
): Promise<OpenedTables> {
  const compression = detectCompression(await firstBytes(source.stream()));
  const plain = () => decompress(source.stream(), compression);
  const format = options.format ?? detectFormat(source.name, await firstBytes(plain()));
  const delimiter = options.delimiter ?? (/\.tsv(\.|$)/i.test(source.name) ? "\t" : undefined);
  const given = { ...options, ...(delimiter === undefined ? {} : { delimiter }) };
  if (format === "csv") {
    const { inferCsv, readCsv } = await import("../csv/reader.ts");
    const { fields } = await inferCsv(plain(), given);
    return { format, compression, fields, batches: () => readCsv(plain(), fields, given) };
  }
  if (format === "ndjson") {
    const { inferNdjson, readNdjson } = await import("../ndjson/reader.ts");
    const { fields }: InferredTable = await inferNdjson(plain(), given);
    return { format, compression, fields, batches: () => readNdjson(plain(), fields, given) };
  }
  const bytes = await collect(plain());
  const batches =
    format === "arrow" ? await arrowBatches(bytes) : await parquetBatches(bytes, options.batchRows);
  const first = await batches.next();
  const fields = first.done === true ? [] : first.value.columns.map(fieldOfColumn);
  return { format, compression, fields, batches: () => withFirst(first, batches) };
}

function fieldOfColumn({ name, type, unit }: ColumnField): ColumnField {
  return unit === undefined ? { name, type } : { name, type, unit };
}

async function arrowBatches(bytes: Uint8Array): Promise<AsyncGenerator<Table>> {
  const { readArrow } = await import("../arrow/reader.ts");
  return readArrow(bytes);
}

async function parquetBatches(
  bytes: Uint8Array,
  batchRows: number | undefined,
): Promise<AsyncGenerator<Table>> {
  const { readParquet } = await import("../parquet/reader.ts");
  return readParquet(bytes, batchRows === undefined ? {} : { batchRows });
}

async function* withFirst(first: IteratorResult<Table>, rest: AsyncGenerator<Table>): AsyncGenerator<Table> {
  if (first.done !== true) yield first.value;
  yield* rest;
}

const HEAD_BYTES = 8;

async function firstBytes(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  let head = Buffer.alloc(0);
  for await (const chunk of chunks) {
    head = Buffer.concat([head, chunk.subarray(0, HEAD_BYTES)]);
    if (head.length >= HEAD_BYTES) break;
  }
  return head;
}

/** By the first bytes where the format has a mark, else by the name. */
export function detectFormat(name: string, head: Uint8Array): TableFormat {
  const text = Buffer.from(head).toString("latin1");
  if (text.startsWith("ARROW1") || text.startsWith("\xff\xff\xff\xff")) return "arrow";
  if (text.startsWith("PAR1")) return "parquet";
  const format = formatOfName(name);
  if (format !== undefined) return format;
  return text.trimStart().startsWith("{") ? "ndjson" : "csv";
}

/** By what the name ends in, a compression's ending apart. */
export function formatOfName(name: string): TableFormat | undefined {
  const ending = /\.([a-z0-9]+)(?:\.(?:gz|gzip|zst|zstd))?$/i.exec(name)?.[1]?.toLowerCase() ?? "";
  const formats: Record<string, TableFormat> = {
    csv: "csv",
    tsv: "csv",
    ndjson: "ndjson",
    jsonl: "ndjson",
    arrow: "arrow",
    arrows: "arrow",
    feather: "arrow",
    ipc: "arrow",
    parquet: "parquet",
    pq: "parquet",
  };
  return Object.hasOwn(formats, ending) ? formats[ending] : undefined;
}

/** The compression a name asks for. */
export function compressionOfName(name: string): Compression {
  if (/\.gz(ip)?$/i.test(name)) return "gzip";
  return /\.zst(d)?$/i.test(name) ? "zstd" : "none";
}

export interface WriteTablesOptions {
  format: TableFormat;
  /** Of the whole file; Arrow and Parquet compress within. Default: none. */
  compression?: Compression;
  /** Arrow: `file` (default) or `stream`. */
  layout?: "file" | "stream";
  /** Arrow: of each buffer. Default: none. */
  buffers?: "none" | "lz4" | "zstd";
  /** CSV: one character. Default: a comma. */
  delimiter?: string;
}

/** Tables as a file's bytes, handed out as they are made. All have the columns of the first. */
export async function* writeTables(
  tables: AsyncIterable<Table> | Iterable<Table>,
  { format, compression = "none", layout, buffers, delimiter }: WriteTablesOptions,
): AsyncGenerator<Uint8Array> {
  yield* compress(await writer(), compression);

  async function writer(): Promise<AsyncIterable<Uint8Array>> {
    switch (format) {
      case "csv":
        return (await import("../csv/writer.ts")).writeCsv(
          tables,
          delimiter === undefined ? {} : { delimiter },
        );
      case "ndjson":
        return (await import("../ndjson/writer.ts")).writeNdjson(tables);
      case "arrow": {
        const { writeArrow } = await import("../arrow/writer.ts");
        return writeArrow(tables, {
          ...(layout === undefined ? {} : { layout }),
          ...(buffers === undefined ? {} : { compression: buffers }),
        });
      }
      case "parquet":
        return (await import("../parquet/writer.ts")).writeParquet(tables);
    }
    throw new StoreError("ERR_INVALID_ARGUMENT", `${JSON.stringify(format)} is no table format`, {
      hint: "Formats are csv, ndjson, arrow and parquet.",
    });
  }
}

/** A whole table file in memory at once. */
export async function readTable(source: TableSource, options: ReadTablesOptions = {}): Promise<Table> {
  const { concatTables } = await import("./combine.ts");
  const opened = await openTables(source, options);
  const tables: Table[] = [];
  for await (const table of opened.batches()) tables.push(table);
  if (tables.length > 0) return concatTables(tables);
  const { columnBuilder } = await import("../csv/builders.ts");
  return { rows: 0, columns: opened.fields.map((field) => columnBuilder(field).finish()) };
}
