import { Type } from "apache-arrow/enum";
import { Field } from "apache-arrow/schema";
import {
  Binary,
  Bool,
  type DataType,
  FixedSizeList,
  Float32,
  Float64,
  Int8,
  Int16,
  Int32,
  Int64,
  TimestampMicrosecond,
  TimestampMillisecond,
  TimestampNanosecond,
  TimestampSecond,
  Uint8,
  Uint16,
  Uint32,
  Uint64,
  Utf8,
} from "apache-arrow/type";
import { StoreError } from "../../src/errors.ts";
import { LIST_SIZE_MAX } from "../../src/limits.ts";
import type { ColumnField, NumberType, TimeUnit } from "../tables/table.ts";

const NUMBERS: Record<NumberType, () => DataType> = {
  f64: () => new Float64(),
  f32: () => new Float32(),
  i64: () => new Int64(),
  u64: () => new Uint64(),
  i32: () => new Int32(),
  u32: () => new Uint32(),
  i16: () => new Int16(),
  u16: () => new Uint16(),
  i8: () => new Int8(),
  u8: () => new Uint8(),
};

const TIMESTAMPS: Record<TimeUnit, () => DataType> = {
  s: () => new TimestampSecond(),
  ms: () => new TimestampMillisecond(),
  us: () => new TimestampMicrosecond(),
  ns: () => new TimestampNanosecond(),
};

/** The Arrow type of a column. */
export function arrowType({ type, unit }: Pick<ColumnField, "type" | "unit">): DataType {
  if (unit !== undefined) return TIMESTAMPS[unit]();
  if (typeof type === "object") {
    const { type: item, size } = type.fixedSizeList;
    return new FixedSizeList(size, new Field("item", NUMBERS[item](), false));
  }
  if (type === "bool") return new Bool();
  if (type === "utf8") return new Utf8();
  return type === "binary" ? new Binary() : NUMBERS[type]();
}

const FLOATS: (NumberType | undefined)[] = [undefined, "f32", "f64"];
const UNITS: TimeUnit[] = ["s", "ms", "us", "ns"];

/** A column's type from Arrow's. Dictionaries stand for what they hold. @throws `ERR_FORMAT_ARROW` for others */
export function fieldOf(name: string, arrow: DataType): ColumnField {
  switch (arrow.typeId) {
    case Type.Int: {
      const { isSigned, bitWidth } = arrow as unknown as { isSigned: boolean; bitWidth: number };
      return { name, type: `${isSigned ? "i" : "u"}${bitWidth}` as NumberType };
    }
    case Type.Float: {
      const type = FLOATS[(arrow as unknown as { precision: number }).precision];
      if (type !== undefined) return { name, type };
      break;
    }
    case Type.Bool:
      return { name, type: "bool" };
    case Type.Utf8:
    case Type.LargeUtf8:
      return { name, type: "utf8" };
    case Type.Binary:
    case Type.LargeBinary:
      return { name, type: "binary" };
    case Type.Timestamp:
      return { name, type: "i64", unit: UNITS[(arrow as unknown as { unit: number }).unit]! };
    case Type.Dictionary:
      return fieldOf(name, (arrow as unknown as { dictionary: DataType }).dictionary);
    case Type.FixedSizeList: {
      const { listSize, children } = arrow as unknown as { listSize: number; children: Field[] };
      const item = fieldOf(name, children[0]!.type);
      if (
        typeof item.type === "string" &&
        NUMBERS[item.type as NumberType] !== undefined &&
        item.unit === undefined
      ) {
        if (listSize < 1 || listSize > LIST_SIZE_MAX) throw listSizeError(name, listSize);
        return { name, type: { fixedSizeList: { type: item.type as NumberType, size: listSize } } };
      }
    }
  }
  throw new StoreError(
    "ERR_FORMAT_ARROW",
    `column ${JSON.stringify(name)} has the Arrow type ${arrow}, which has no place in a table`,
    {
      context: { column: name, type: String(arrow) },
      hint: "Cast it to integers, floats, bool, utf8, binary, timestamps or fixed-size lists of numbers.",
    },
  );
}

function listSizeError(name: string, size: number): StoreError {
  return new StoreError(
    "ERR_LIMIT",
    `column ${JSON.stringify(name)} has lists of ${size} numbers; the limit is ${LIST_SIZE_MAX}`,
    {
      context: { column: name, size },
      hint: "Spread it over several columns.",
    },
  );
}
