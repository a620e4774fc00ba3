import type { FileMetaData, SchemaElement } from "hyparquet";
import { StoreError } from "../../src/errors.ts";
import { type ColumnField, isNumberType, type NumberType, typeText } from "../tables/table.ts";

/** Parquet's description of a column. Lists have no plain place in it. */
export function elementOf(field: ColumnField): SchemaElement {
  const { name, type, unit } = field;
  const base = { name, repetition_type: "OPTIONAL" } as const;
  if (unit !== undefined) {
    if (unit === "s") throw unwritable(field, "Parquet knows no timestamps in seconds");
    // Not as instants of UTC: what reads those keeps microseconds only.
    const logical = { ms: "MILLIS", us: "MICROS", ns: "NANOS" } as const;
    const logical_type = { type: "TIMESTAMP", isAdjustedToUTC: false, unit: logical[unit] } as const;
    return { ...base, type: "INT64", logical_type };
  }
  if (typeof type === "object") throw unwritable(field, "lists are not written to Parquet");
  if (type === "bool") return { ...base, type: "BOOLEAN" };
  if (type === "utf8")
    return { ...base, type: "BYTE_ARRAY", converted_type: "UTF8", logical_type: { type: "STRING" } };
  if (type === "binary") return { ...base, type: "BYTE_ARRAY" };
  if (type === "f64") return { ...base, type: "DOUBLE" };
  if (type === "f32") return { ...base, type: "FLOAT" };
  const bitWidth = Number(type.slice(1)) as 8 | 16 | 32 | 64;
  const isSigned = type.startsWith("i");
  const physical = bitWidth === 64 ? "INT64" : "INT32";
  if (isSigned && bitWidth >= 32) return { ...base, type: physical };
  // Not the newer logical type beside it: its writer gives it a width that strict readers refuse.
  const converted_type = `${isSigned ? "INT" : "UINT"}_${bitWidth}` as SchemaElement["converted_type"] &
    string;
  return { ...base, type: physical, converted_type };
}

function unwritable(field: ColumnField, what: string): StoreError {
  return new StoreError(
    "ERR_FORMAT_PARQUET",
    `column ${JSON.stringify(field.name)} is ${typeText(field)}: ${what}`,
    {
      context: { column: field.name },
      hint: "Write it as Arrow, or as columns of other types.",
    },
  );
}

/** The columns of a Parquet file. @throws `ERR_FORMAT_PARQUET` for nested ones and for types with no place in a table */
export function fieldsOf(metadata: FileMetaData): ColumnField[] {
  const [root, ...elements] = metadata.schema;
  if (root === undefined || root.num_children !== elements.length) throw nested(elements);
  return elements.map((element) => {
    if (element.num_children !== undefined && element.num_children > 0) throw nested([element]);
    if (element.repetition_type === "REPEATED") throw nested([element]);
    return fieldOf(element);
  });
}

function nested(elements: SchemaElement[]): StoreError {
  const name = elements.find((element) => (element.num_children ?? 0) > 0)?.name ?? elements[0]?.name ?? "";
  return new StoreError("ERR_FORMAT_PARQUET", `column ${JSON.stringify(name)} is nested`, {
    context: { column: name },
    hint: "Flatten it into columns of plain values before bringing it here.",
  });
}

function fieldOf(element: SchemaElement): ColumnField {
  const { name, type, converted_type: converted, logical_type: logical } = element;
  switch (type) {
    case "BOOLEAN":
      return { name, type: "bool" };
    case "DOUBLE":
      return { name, type: "f64" };
    case "FLOAT":
      return { name, type: "f32" };
    case "BYTE_ARRAY":
      if (converted === "UTF8" || logical?.type === "STRING") return { name, type: "utf8" };
      if (converted === undefined && logical === undefined) return { name, type: "binary" };
      break;
    case "INT32":
    case "INT64": {
      const found = integerOf(element);
      if (found !== undefined) return { name, ...found };
    }
  }
  throw new StoreError(
    "ERR_FORMAT_PARQUET",
    `column ${JSON.stringify(name)} is ${logical?.type ?? converted ?? type}, which has no place in a table`,
    {
      context: { column: name, type: logical?.type ?? converted ?? type },
      hint: "Cast it to integers, floats, bool, text, binary or timestamps.",
    },
  );
}

const UNITS = { MILLIS: "ms", MICROS: "us", NANOS: "ns" } as const;

function integerOf(element: SchemaElement): Pick<ColumnField, "type" | "unit"> | undefined {
  const { type, converted_type: converted, logical_type: logical } = element;
  if (logical?.type === "TIMESTAMP") return { type: "i64", unit: UNITS[logical.unit] };
  if (converted === "TIMESTAMP_MILLIS") return { type: "i64", unit: "ms" };
  if (converted === "TIMESTAMP_MICROS") return { type: "i64", unit: "us" };
  const text =
    logical?.type === "INTEGER"
      ? `${logical.isSigned ? "i" : "u"}${logical.bitWidth}`
      : converted?.replace(/^UINT_/, "u").replace(/^INT_/, "i");
  if (text === undefined) return { type: type === "INT64" ? "i64" : "i32" };
  return isNumberType(text) ? { type: text satisfies NumberType } : undefined;
}
