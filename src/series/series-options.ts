import { StoreError } from "../errors.ts";
import { SERIES_RECIPES_BYTES_MAX, SERIES_SEGMENT_ROWS, SERIES_SEGMENT_ROWS_MAX } from "../limits.ts";
import type { Recipes } from "./columns/recipe.ts";
import { checkRecipes } from "./columns/recipe-check.ts";
import {
  isFloatIn,
  makeSchema,
  requireColumn,
  type Schema,
  type SchemaOptions,
  unitNs,
  widenSchema,
} from "./schema.ts";
import type { DuplicatesPolicy, OrderPolicy, Retention, SeriesDefinition } from "./series-file.ts";

export interface SeriesOptions {
  /** Names and types of the columns; needed when the series is new, checked or widened when it is not. */
  columns?: SchemaOptions["columns"];
  /** The column that orders the series, its event time: `ts_ns`, `ts_us`, `ts_ms` or `i64`. Default: rows are keyed by arrival. */
  key?: string;
  /** The column that says when a row was known. */
  knownKey?: string;
  /**
   * What is kept: a number of segments, or as much as `keep` says, a duration of event time (`"7d"`, `"12h"`, `"30m"`,
   * `"90s"`) or bytes. Whole segments go, the oldest first. Default: everything.
   */
  ring?: { segmentRows?: number; segments?: number; keep?: string | number };
  /**
   * What happens to a row that is older than the newest: `reject` (default) refuses it, `allow` keeps it where it came,
   * `{ sortWithinMs }` puts it in its place when it is late by no more; rows then wait so long before they are seen.
   */
  order?: "reject" | "allow" | { sortWithinMs: number };
  /** What happens to a row equal to one of the same key: `keep` (default), `drop` it, or `reject` it with an error. */
  duplicates?: DuplicatesPolicy;
  /** The most milliseconds of appended rows a power cut may take; 0 makes each append durable. Default: 1000. */
  flushIntervalMs?: number;
  /**
   * How computed f64 columns follow from others of the series: `{ ema12: { ema: { of: "close", span: 12 } } }`. A sealed
   * segment then holds of them what is left beside the recipe; every value comes back as the same bits whatever computed
   * it. Counts for segments sealed from now on; kept with the series until other recipes (`{}`: none) are given.
   */
  derive?: Recipes;
  /** How sealed segments are encoded: the smallest (`compact`, default) or the fastest to read (`light`). */
  profile?: "light" | "compact";
  /** Only read; another process may be appending. Default: false, or true in a store opened read-only. */
  readOnly?: boolean;
}

/** @throws ERR_INVALID_ARGUMENT, ERR_LIMIT */
export function defineSeries(name: string, options: SeriesOptions, nowUs: bigint): SeriesDefinition {
  if (options.columns === undefined) {
    throw new StoreError("ERR_NOT_FOUND", `there is no series "${name}"`, {
      context: { series: name },
      hint: "Name its `columns` to create it.",
    });
  }
  const { columns, key, knownKey, order = "reject" } = options;
  const schema = makeSchema({ columns, key, knownKey });
  const segmentRows = options.ring?.segmentRows ?? SERIES_SEGMENT_ROWS;
  if (!Number.isInteger(segmentRows) || segmentRows < 1 || segmentRows > SERIES_SEGMENT_ROWS_MAX) {
    throw new StoreError("ERR_LIMIT", `segmentRows is 1 to ${SERIES_SEGMENT_ROWS_MAX}, not ${segmentRows}`, {
      context: { segmentRows, limit: SERIES_SEGMENT_ROWS_MAX },
    });
  }
  const definition: SeriesDefinition = {
    name,
    schema,
    segmentRows,
    retention: retentionOf(options.ring ?? {}),
    order: key === undefined ? "allow" : orderPolicy(order),
    windowKeys: undefined,
    duplicates: options.duplicates ?? "keep",
    createdUs: nowUs,
    gaps: [],
    ...deriveOf(options, schema),
  };
  if (
    definition.retention.ns !== undefined &&
    (key === undefined || unitNs(requireColumn(schema, key).type) === undefined)
  ) {
    throw invalid("a duration to keep needs a time column as key");
  }
  return typeof order === "object"
    ? { ...definition, windowKeys: windowOf(definition, order.sortWithinMs) }
    : definition;
}

function orderPolicy(order: NonNullable<SeriesOptions["order"]>): OrderPolicy {
  if (typeof order === "object") return "sort";
  if (order === "reject" || order === "allow") return order;
  throw invalid(`order is "reject", "allow" or { sortWithinMs }, not ${JSON.stringify(order)}`);
}

function windowOf(
  { schema, key = schema.key }: { schema: SeriesDefinition["schema"]; key?: string | undefined },
  ms: number,
): bigint {
  if (key === undefined) throw invalid("rows that are sorted need a key");
  if (!(ms > 0) || !Number.isFinite(ms))
    throw invalid(`sortWithinMs is a number of milliseconds above 0, not ${ms}`);
  const unit = unitNs(requireColumn(schema, key).type);
  if (unit === undefined) throw invalid("sortWithinMs needs a time column as key");
  return BigInt(Math.ceil(ms * 1e6)) / unit;
}

function retentionOf({ segments, keep }: NonNullable<SeriesOptions["ring"]>): Retention {
  if (segments !== undefined && (!Number.isInteger(segments) || segments < 1)) {
    throw invalid(`segments is a whole number of at least 1, not ${segments}`);
  }
  if (segments !== undefined && keep !== undefined) throw invalid("name either `segments` or `keep`");
  if (keep === undefined) return { segments };
  return parseKeep(keep);
}

const UNITS_NS: Record<string, bigint> = {
  d: 86_400_000_000_000n,
  h: 3_600_000_000_000n,
  m: 60_000_000_000n,
  s: 1_000_000_000n,
};

/** `"7d"`, `"12h"`, `"30m"`, `"90s"`, `"10GiB"`, or a number of bytes. @throws ERR_INVALID_ARGUMENT */
function parseKeep(keep: string | number): Retention {
  if (typeof keep === "number") {
    if (!Number.isSafeInteger(keep) || keep < 1)
      throw invalid(`keep is a number of bytes of at least 1, not ${keep}`);
    return { bytes: keep };
  }
  const duration = /^(\d{1,9})(d|h|m|s)$/.exec(keep);
  if (duration !== null) return { ns: BigInt(duration[1]!) * UNITS_NS[duration[2]!]! };
  const size = /^(\d{1,9})(KiB|MiB|GiB|TiB|B)$/.exec(keep);
  if (size !== null) {
    return { bytes: Number(size[1]) * 1024 ** ["B", "KiB", "MiB", "GiB", "TiB"].indexOf(size[2]!) };
  }
  throw invalid(
    `keep is a duration such as "7d", "12h", "30m", "90s" or a size such as "10GiB", not ${JSON.stringify(keep)}`,
  );
}

/**
 * What a series is once it has been opened with these options: what they name replaces what was, a schema only by a
 * wider one.
 * @throws ERR_CONFLICT naming the column that fits neither way
 */
export function redefineSeries(found: SeriesDefinition, options: SeriesOptions): SeriesDefinition {
  const { columns, ring, order, duplicates, derive } = options;
  if ([columns, ring, order, duplicates, derive].every((named) => named === undefined)) return found;
  const key = options.key ?? found.schema.key;
  const knownKey = options.knownKey ?? found.schema.knownKey;
  const schema =
    options.columns === undefined
      ? found.schema
      : widenSchema(found.schema, makeSchema({ columns: options.columns, key, knownKey }));
  const changed = { ...found, schema };
  if (options.ring?.segmentRows !== undefined) changed.segmentRows = options.ring.segmentRows;
  if (options.ring?.segments !== undefined || options.ring?.keep !== undefined) {
    changed.retention = retentionOf(options.ring);
  }
  if (options.order !== undefined && key !== undefined) {
    changed.order = orderPolicy(options.order);
    changed.windowKeys =
      typeof options.order === "object" ? windowOf(changed, options.order.sortWithinMs) : undefined;
  }
  if (options.duplicates !== undefined) changed.duplicates = options.duplicates;
  return options.derive === undefined
    ? changed
    : { ...changed, derive: undefined, ...deriveOf(options, schema) };
}

/** The recipes of a definition; the field is absent when there are none. */
function deriveOf({ derive = {} }: SeriesOptions, schema: Schema): { derive?: Recipes } {
  if (typeof derive !== "object" || derive === null || Array.isArray(derive)) {
    throw invalid(`derive names a recipe for each computed column, not ${JSON.stringify(derive)}`);
  }
  if (Object.keys(derive).length === 0) return {};
  checkRecipes(derive, isFloatIn(schema));
  const text = JSON.stringify(derive);
  if (Buffer.byteLength(text) > SERIES_RECIPES_BYTES_MAX) {
    throw new StoreError("ERR_LIMIT", `the recipes take ${Buffer.byteLength(text)} bytes as JSON`, {
      context: { limit: SERIES_RECIPES_BYTES_MAX },
      hint: "Leave out those that save least.",
    });
  }
  // A copy: what the caller does with the object later must not change the series.
  return { derive: JSON.parse(text) as Recipes };
}

function invalid(message: string): StoreError {
  return new StoreError("ERR_INVALID_ARGUMENT", message);
}
