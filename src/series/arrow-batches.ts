import type { Schema as ArrowSchema, Data, DataType, Field, RecordBatch, Table } from "apache-arrow";
import { bitAt, type ColumnSlice } from "./column-slice.ts";
import type { Column, ColumnType } from "./schema.ts";

type Arrow = typeof import("apache-arrow");

/** Loads Apache Arrow, which takes a while: only when something of it is asked for. */
export function loadArrow(): Promise<Arrow> {
  loading ??= import("apache-arrow");
  return loading;
}
let loading: Promise<Arrow> | undefined;

/** Makes Arrow record batches of slices; their memory is shared, not copied. */
export class ArrowBatches {
  readonly schema: ArrowSchema;
  readonly #arrow: Arrow;

  constructor(arrow: Arrow, columns: readonly Column[]) {
    this.#arrow = arrow;
    this.schema = new arrow.Schema(columns.map((column) => this.#field(column)));
  }

  batch(slices: readonly ColumnSlice[], rows: number): RecordBatch {
    const { RecordBatch, Struct, makeData } = this.#arrow;
    const children = slices.map((slice, index) => this.#data(slice, this.schema.fields[index]!.type));
    const type = new Struct(this.schema.fields);
    return new RecordBatch(this.schema, makeData({ type, length: rows, nullCount: 0, children }));
  }

  table(batches: readonly RecordBatch[]): Table {
    const { Table } = this.#arrow;
    return batches.length === 0 ? new Table(this.schema) : new Table(this.schema, [...batches]);
  }

  #field({ name, type, nullable, listSize }: Column): Field {
    const { Field, FixedSizeList } = this.#arrow;
    const element = this.#type(type);
    const whole = listSize === 0 ? element : new FixedSizeList(listSize, new Field("item", element, false));
    return new Field(name, whole, nullable);
  }

  #type(type: ColumnType): DataType {
    const arrow = this.#arrow;
    switch (type) {
      case "f64":
        return new arrow.Float64();
      case "f32":
        return new arrow.Float32();
      case "i64":
        return new arrow.Int64();
      case "u64":
        return new arrow.Uint64();
      case "i32":
        return new arrow.Int32();
      case "u32":
        return new arrow.Uint32();
      case "i16":
        return new arrow.Int16();
      case "u16":
        return new arrow.Uint16();
      case "i8":
        return new arrow.Int8();
      case "u8":
        return new arrow.Uint8();
      case "bool":
        return new arrow.Bool();
      case "utf8":
        return new arrow.Utf8();
      case "binary":
        return new arrow.Binary();
      case "ts_ns":
        return new arrow.TimestampNanosecond();
      case "ts_us":
        return new arrow.TimestampMicrosecond();
      case "ts_ms":
        return new arrow.TimestampMillisecond();
    }
  }

  #data({ column, rows, values, offsets, validity }: ColumnSlice, type: DataType): Data {
    const { makeData } = this.#arrow;
    const nullCount = validity === undefined ? 0 : countNulls(validity, rows);
    const nulls = nullCount > 0 ? { nullCount, nullBitmap: validity } : { nullCount: 0 };
    const props = { type, length: rows, ...nulls };
    if (column.listSize > 0) {
      const element = (type as { children: Field[] } & DataType).children[0]!.type;
      const child = makeData({ type: element, length: values.length, nullCount: 0, data: values } as never);
      return makeData({ ...props, child } as never);
    }
    if (offsets !== undefined) return makeData({ ...props, valueOffsets: offsets, data: values } as never);
    return makeData({ ...props, data: values } as never);
  }
}

function countNulls(validity: Uint8Array, rows: number): number {
  let nulls = 0;
  for (let row = 0; row < rows; row++) if (!bitAt(validity, row)) nulls++;
  return nulls;
}
