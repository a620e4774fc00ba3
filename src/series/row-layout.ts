import { columnIndex, type Schema, widthOf } from "./schema.ts";

/** Where things lie in the payload of a single row, whose texts and bytes have lengths of their own. */
export class RowLayout {
  /** Bytes of each column, its validity flag not counted; -1 for utf8 and binary. */
  readonly #sizes: readonly { nullable: boolean; sizeBytes: number }[];
  readonly #key: number;

  constructor(schema: Schema) {
    this.#key = schema.key === undefined ? -1 : columnIndex(schema, schema.key);
    this.#sizes = schema.columns.map(({ type, nullable, listSize }) => {
      const variable = type === "utf8" || type === "binary";
      const sizeBytes = variable ? -1 : type === "bool" ? 1 : widthOf(type) * Math.max(1, listSize);
      return { nullable, sizeBytes };
    });
  }

  /** Where the key lies (0 when there is none) and where the payload that begins at `at` ends. */
  measure(view: DataView, at: number): { keyAt: number; end: number } {
    let [end, keyAt] = [at, 0];
    for (const [index, { nullable, sizeBytes }] of this.#sizes.entries()) {
      if (nullable) end += 1;
      if (index === this.#key) keyAt = end;
      end += sizeBytes < 0 ? 4 + view.getUint32(end, true) : sizeBytes;
    }
    return { keyAt, end };
  }
}
