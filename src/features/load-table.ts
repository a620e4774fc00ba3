import type { ChunkReader } from "../chunks/chunk-reader.ts";
import { StoreError } from "../errors.ts";
import { ByteSource } from "../series/columns/byte-source.ts";
import { bytesOf, NUMBER_ARRAYS, numbersOf, numberWidth } from "../series/columns/column.ts";
import { type ColumnCodec, loadColumnCodec } from "../series/columns/column-codec.ts";
import { readFeatureManifest } from "./feature-chunks.ts";
import {
  type ColumnChunk,
  type ColumnManifest,
  chunkBounds,
  corruptManifest,
  type FeatureColumn,
  type FeatureManifest,
  type FeatureTable,
  type Piece,
  PLAIN,
} from "./format.ts";

export type Reader = Pick<ChunkReader, "read" | "readInto" | "readManyInto">;

/** What Arrow aligns buffers to, and what a cache line holds. */
const ALIGNMENT = 64;

/**
 * Decodes a version's table, or the columns named, over one buffer allocated beforehand: numbers are read or decoded
 * straight into their place.
 * @throws `ERR_STORE_CORRUPT`; `ERR_NOT_FOUND` for a column there is not
 */
export async function loadTable(
  chunks: Reader,
  digest: Uint8Array,
  columns?: readonly string[],
): Promise<FeatureTable> {
  const { manifest } = readFeatureManifest(chunks, digest);
  const chosen =
    columns === undefined ? manifest.columns : columns.map((name) => columnNamed(manifest, name));
  const places = layOut(chosen, manifest.rows);
  const buffer = new ArrayBuffer(places.sizeBytes);
  const codec = await loadColumnCodec();
  const loader = new Loader(chunks, codec, manifest, buffer);
  const loaded = chosen.map((column, at) => loader.load(column, places.columns[at]!));
  await loader.readPlain();
  return { rows: manifest.rows, columns: loaded };
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

interface Place {
  values: { at: number; sizeBytes: number };
  offsets: { at: number } | undefined;
  validity: { at: number } | undefined;
}

function layOut(columns: ColumnManifest[], rows: number): { columns: Place[]; sizeBytes: number } {
  let at = 0;
  const take = (sizeBytes: number) => {
    const place = { at, sizeBytes };
    at = Math.ceil((at + sizeBytes) / ALIGNMENT) * ALIGNMENT;
    return place;
  };
  const bitmapBytes = Math.ceil(rows / 8);
  const places = columns.map((column): Place => {
    const numbers = numbersOf(column.type);
    const valueBytes =
      numbers !== undefined
        ? rows * numbers.perRow * numberWidth(numbers.type)
        : column.type === "bool"
          ? bitmapBytes
          : column.textBytes;
    const isText = column.type === "utf8" || column.type === "binary";
    return {
      values: take(valueBytes),
      offsets: isText ? take((rows + 1) * 4) : undefined,
      validity: column.hasNulls ? take(bitmapBytes) : undefined,
    };
  });
  return { columns: places, sizeBytes: at };
}

class Loader {
  readonly #chunks: Reader;
  readonly #codec: ColumnCodec;
  readonly #manifest: FeatureManifest;
  readonly #buffer: ArrayBuffer;
  readonly #bounds: [number, number][];
  readonly #tailFrom: number;
  readonly #tails = new Map<string, TailColumn>();
  /** Pieces of plain numbers and where they go: read together, once everything else is in its place. */
  readonly #plain: { digest: Uint8Array; target: Uint8Array }[] = [];

  constructor(chunks: Reader, codec: ColumnCodec, manifest: FeatureManifest, buffer: ArrayBuffer) {
    this.#chunks = chunks;
    this.#codec = codec;
    this.#manifest = manifest;
    this.#buffer = buffer;
    const { bounds, tailFrom } = chunkBounds(manifest.rows);
    this.#bounds = bounds;
    this.#tailFrom = tailFrom;
  }

  load(column: ColumnManifest, place: Place): FeatureColumn {
    const { rows } = this.#manifest;
    const { name, type, unit } = column;
    const numbers = numbersOf(type);
    const bytes = new Uint8Array(this.#buffer, place.values.at, place.values.sizeBytes);
    const out: FeatureColumn = {
      name,
      type,
      ...(unit === undefined ? {} : { unit }),
      rows,
      values:
        numbers === undefined
          ? bytes
          : new NUMBER_ARRAYS[numbers.type](this.#buffer, place.values.at, rows * numbers.perRow),
    };
    if (place.offsets !== undefined) out.offsets = new Int32Array(this.#buffer, place.offsets.at, rows + 1);
    if (place.validity !== undefined) {
      out.validity = new Uint8Array(this.#buffer, place.validity.at, Math.ceil(rows / 8)).fill(255);
    }
    this.#bounds.forEach(([from, to], at) => {
      this.#loadChunk(column.chunks[at]!, out, from, to);
    });
    if (this.#tailFrom < rows) this.#loadTail(out);
    if (out.offsets !== undefined && out.offsets[rows] !== column.textBytes) {
      throw corruptManifest(
        `column ${JSON.stringify(name)} has ${out.offsets[rows]} bytes of text, not ${column.textBytes}`,
      );
    }
    return out;
  }

  #loadChunk({ form, pieces }: ColumnChunk, out: FeatureColumn, from: number, to: number): void {
    const numbers = numbersOf(out.type);
    const target =
      numbers === undefined ? undefined : out.values.subarray(from * numbers.perRow, to * numbers.perRow);
    if (form === PLAIN) {
      if (target === undefined) throw corruptManifest(`column ${JSON.stringify(out.name)} has no plain form`);
      this.#plain.push(...placed(pieces, bytesOf(target)));
      return;
    }
    const sizeBytes = pieces.reduce((sum, piece) => sum + piece.rawBytes, 0);
    const bytes = new Uint8Array(sizeBytes);
    this.#readInto(pieces, bytes);
    const decoder = this.#codec.decoder([{ name: out.name, type: out.type, bytes }], to - from);
    const decoded = decoder.decode(out.name, 0, to - from, target);
    if (decoded.validity !== undefined) this.#putBits(out.validity, decoded.validity, from, out.name);
    if (out.type === "bool") (out.values as Uint8Array).set(decoded.values as Uint8Array, from >> 3);
    if (decoded.offsets !== undefined)
      this.#putText(out, decoded.values as Uint8Array, decoded.offsets, from);
  }

  #putBits(target: Uint8Array | undefined, bits: Uint8Array, from: number, name: string): void {
    if (target === undefined)
      throw corruptManifest(`column ${JSON.stringify(name)} has nulls it does not tell of`);
    target.set(bits, from >> 3);
  }

  #putText(out: FeatureColumn, text: Uint8Array, offsets: Int32Array, from: number): void {
    const values = out.values as Uint8Array;
    const start = from === 0 ? 0 : out.offsets![from]!;
    const base = offsets[0]!;
    const end = start + offsets[offsets.length - 1]! - base;
    if (end > values.length)
      throw corruptManifest(`column ${JSON.stringify(out.name)} has more text than it tells of`);
    values.set(text.subarray(base, offsets[offsets.length - 1]!), start);
    for (let i = 0; i < offsets.length; i++) out.offsets![from + i] = offsets[i]! - base + start;
  }

  #loadTail(out: FeatureColumn): void {
    if (this.#tails.size === 0) this.#readTails();
    const { values, offsets, validity } = this.#tails.get(out.name)!;
    const from = this.#tailFrom;
    if (validity.length > 0) this.#putBits(out.validity, validity, from, out.name);
    if (offsets !== undefined) this.#putText(out, values, offsets, from);
    else if (out.type === "bool") (out.values as Uint8Array).set(values, from >> 3);
    else {
      const { perRow } = numbersOf(out.type)!;
      const target = bytesOf(out.values.subarray(from * perRow));
      if (values.length !== target.length)
        throw corruptManifest(`the tail of column ${JSON.stringify(out.name)} has another size`);
      target.set(values);
    }
  }

  #readTails(): void {
    const rows = this.#manifest.rows - this.#tailFrom;
    let next = 0;
    for (const group of this.#manifest.tail) {
      const bytes = new Uint8Array(group.pieces.reduce((sum, piece) => sum + piece.rawBytes, 0));
      this.#readInto(group.pieces, bytes);
      const source = new ByteSource("feature tail", bytes);
      for (let i = 0; i < group.columns; i++) {
        const column = this.#manifest.columns[next++]!;
        this.#tails.set(column.name, readTailColumn(source, column, rows));
      }
      source.finish();
    }
  }

  readPlain(): Promise<void> {
    return this.#chunks.readManyInto(this.#plain);
  }

  #readInto(pieces: Piece[], bytes: Uint8Array): void {
    for (const { digest, target } of placed(pieces, bytes)) this.#chunks.readInto(digest, target);
  }
}

/** Where each piece of a chunk goes; together they fill `bytes`. */
function placed(pieces: Piece[], bytes: Uint8Array): { digest: Uint8Array; target: Uint8Array }[] {
  let at = 0;
  const places = pieces.map(({ digest, rawBytes }) => {
    if (at + rawBytes > bytes.length) throw corruptManifest("a chunk holds more rows than its place");
    at += rawBytes;
    return { digest, target: bytes.subarray(at - rawBytes, at) };
  });
  if (at !== bytes.length) throw corruptManifest("a chunk holds fewer rows than its place");
  return places;
}

interface TailColumn {
  values: Uint8Array;
  offsets: Int32Array | undefined;
  validity: Uint8Array;
}

function readTailColumn(source: ByteSource, { type }: ColumnManifest, rows: number): TailColumn {
  const validity = source.bytes(source.varint(Math.ceil(rows / 8)));
  const values = source.bytes(source.varint(source.left));
  if (type !== "utf8" && type !== "binary") {
    if (type === "bool" && values.length !== Math.ceil(rows / 8))
      throw source.corrupt("bits of another length");
    return { values, offsets: undefined, validity };
  }
  const offsets = new Int32Array(source.bytes((rows + 1) * 4).slice().buffer);
  for (let row = 0; row < rows; row++) {
    if (offsets[row]! > offsets[row + 1]!) throw source.corrupt("offsets that run backwards");
  }
  if (offsets[0]! < 0 || offsets[rows]! > values.length) throw source.corrupt("offsets past the text");
  return { values, offsets, validity };
}
