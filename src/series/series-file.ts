import type { Disk } from "../disk/disk.ts";
import { replaceFile } from "../disk/replace-file.ts";
import { StoreError } from "../errors.ts";
import { SERIES_RECIPES_BYTES_MAX } from "../limits.ts";
import { checksumOf } from "./checksum.ts";
import type { Recipes } from "./columns/recipe.ts";
import { type Schema, schemaFromJson, schemaToJson } from "./schema.ts";

/** What happens to a row that is older than the newest one. */
export type OrderPolicy = "reject" | "sort" | "allow";

/** What happens to a row that is equal, in every column, to one of the same key that came before it. */
export type DuplicatesPolicy = "keep" | "drop" | "reject";

/** How much of a series is kept; nothing given: all of it. */
export interface Retention {
  /** Sealed segments. */
  segments?: number | undefined;
  /** Bytes of sealed segments. */
  bytes?: number | undefined;
  /** Nanoseconds of event time before the newest row. */
  ns?: bigint | undefined;
}

/** Rows that are gone by damage, not by eviction; put on record by `repair`. */
export interface Gap {
  firstRow: number;
  rows: number;
}

/** What a series is: `series.json` of its directory. */
export interface SeriesDefinition {
  name: string;
  schema: Schema;
  segmentRows: number;
  retention: Retention;
  order: OrderPolicy;
  /** The sorting window in the key's unit, for order `sort`. */
  windowKeys: bigint | undefined;
  duplicates: DuplicatesPolicy;
  /** How columns follow from others when they are sealed; absent: each is stored for itself. */
  derive?: Recipes | undefined;
  createdUs: bigint;
  gaps: Gap[];
}

export const SERIES_FILE = "series.json";
const SERIES_FORMAT_VERSION = 1;

/** Bytes of the file: the widest schema fits, and the most recipes. */
const SERIES_FILE_BYTES_MAX = (1 << 20) + SERIES_RECIPES_BYTES_MAX;

/** A directory's name for a series: names hold no `~`, and a directory's name no `/`. */
export function directoryName(name: string): string {
  return name.replaceAll("/", "~");
}

/** Writes the definition beside its place and renames it there: it is whole or as before. Durable when it returns. */
export function writeSeriesFile(disk: Disk, directory: string, definition: SeriesDefinition): void {
  const { schema, retention, windowKeys, createdUs, ...rest } = definition;
  const fields = {
    format: SERIES_FORMAT_VERSION,
    ...rest,
    schema: schemaToJson(schema),
    retention: { ...retention, ns: retention.ns?.toString() },
    windowKeys: windowKeys?.toString(),
    createdUs: createdUs.toString(),
  };
  const body = JSON.stringify(fields);
  const text = `{"checksum":"${checksumText(body)}",\n"series":${body}}\n`;
  replaceFile(disk, `${directory}/${SERIES_FILE}`, Buffer.from(text));
}

/** Puts rows on record as lost. Returns whether the series' definition could be read. */
export function recordGap(disk: Disk, directory: string, gap: Gap): boolean {
  const definition = readSeriesFile(disk, directory);
  if (definition === undefined) return false;
  writeSeriesFile(disk, directory, { ...definition, gaps: [...definition.gaps, gap] });
  return true;
}

function checksumText(body: string): string {
  return checksumOf(Buffer.from(body)).toString(16).padStart(8, "0");
}

/**
 * The definition in a series' directory; `undefined` when there is none.
 * @throws ERR_STORE_CORRUPT, ERR_STORE_VERSION
 */
export function readSeriesFile(disk: Disk, directory: string): SeriesDefinition | undefined {
  const path = `${directory}/${SERIES_FILE}`;
  const stat = disk.stat(path);
  if (stat === undefined) return undefined;
  if (stat.sizeBytes > SERIES_FILE_BYTES_MAX) throw damaged(path, `it has ${stat.sizeBytes} bytes`);
  const bytes = Buffer.alloc(stat.sizeBytes);
  const file = disk.open(path, { access: "read" });
  try {
    file.readSync(bytes, 0);
  } finally {
    file.close();
  }
  return decodeSeriesFile(bytes, path);
}

/** @throws ERR_STORE_CORRUPT, ERR_STORE_VERSION */
export function decodeSeriesFile(bytes: Buffer, path: string): SeriesDefinition {
  const match = /^\{"checksum":"([0-9a-f]{8})",\n"series":(.*)\}\n$/su.exec(bytes.toString("utf8"));
  if (match === null) throw damaged(path, "it is malformed");
  const [, checksum, body] = match as unknown as [string, string, string];
  if (checksumText(body) !== checksum) throw damaged(path, "its checksum is wrong");
  // Only now: a flipped bit must not pass for a newer format.
  const fields = JSON.parse(body) as Record<string, unknown>;
  if (fields["format"] !== SERIES_FORMAT_VERSION) {
    throw new StoreError("ERR_STORE_VERSION", `${path} has series format ${fields["format"]}`, {
      context: { path, format: fields["format"], known: SERIES_FORMAT_VERSION },
      hint: "Open the store with the varve that wrote it, or a newer one.",
    });
  }
  const schema = schemaFromJson(fields["schema"]);
  if (schema === undefined) throw damaged(path, "its schema is malformed");
  const big = (value: unknown) => (value === undefined ? undefined : BigInt(value as string));
  const retention = fields["retention"] as { segments?: number; bytes?: number; ns?: string };
  return {
    name: fields["name"] as string,
    schema,
    segmentRows: fields["segmentRows"] as number,
    retention: { ...retention, ns: big(retention.ns) },
    order: fields["order"] as OrderPolicy,
    windowKeys: big(fields["windowKeys"]),
    duplicates: fields["duplicates"] as DuplicatesPolicy,
    ...(fields["derive"] !== undefined && { derive: fields["derive"] as Recipes }),
    createdUs: BigInt(fields["createdUs"] as string),
    gaps: fields["gaps"] as Gap[],
  };
}

function damaged(path: string, what: string): StoreError {
  return new StoreError("ERR_STORE_CORRUPT", `${path} is damaged: ${what}`, {
    context: { path },
    hint: "`varve repair` writes it again from the series' segments, which name their columns themselves.",
  });
}
