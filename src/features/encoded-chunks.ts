import type { WantedChunk } from "../chunks/stored-runs.ts";
import { bytesOf, type NumberArray, numbersOf } from "../series/columns/column.ts";
import type { ColumnCodec } from "../series/columns/column-codec.ts";
import { corruptManifest, type FeatureColumn, type Piece } from "./format.ts";
import { ScratchBuffers } from "./scratch-buffers.ts";
import { putTexts, putValidity } from "./table-memory.ts";

/** Rows [from, to) of a column, stored by the column codec. */
interface EncodedChunk {
  column: EncodedColumn;
  /** Which of its column's encoded chunks it is. */
  at: number;
  from: number;
  to: number;
  pieces: Piece[];
  sizeBytes: number;
  /** Taken when the first piece is read, given back when the rows are decoded. */
  bytes: Uint8Array | undefined;
  /** Pieces that have not come yet. */
  missing: number;
}

/** A column's chunks are decoded in their order: a chunk of texts begins where the one before ends. */
interface EncodedColumn {
  out: () => FeatureColumn;
  count: number;
  ready: Map<number, EncodedChunk>;
  next: number;
}

/** Chunks to be decoded: which pieces are to be read for them, and their decoding as the pieces come. */
export class EncodedChunks {
  readonly #scratch = new ScratchBuffers();
  readonly #owners = new Map<WantedChunk, EncodedChunk>();

  /** Begins a column; chunks are then added in the order of their rows. */
  column(out: () => FeatureColumn): (pieces: Piece[], from: number, to: number) => void {
    const column: EncodedColumn = { out, count: 0, ready: new Map(), next: 0 };
    return (pieces, from, to) => {
      if (pieces.length === 0) throw corruptManifest("an encoded chunk has no bytes");
      const at = column.count++;
      const sizeBytes = pieces.reduce((sum, piece) => sum + piece.rawBytes, 0);
      this.#add({ column, at, from, to, pieces, sizeBytes, bytes: undefined, missing: pieces.length });
    };
  }

  #add(chunk: EncodedChunk): void {
    let end = 0;
    for (const { digest, rawBytes } of chunk.pieces) {
      const from = end;
      end += rawBytes;
      const target = () => {
        chunk.bytes ??= this.#scratch.take(chunk.sizeBytes);
        return chunk.bytes.subarray(from, from + rawBytes);
      };
      // Texts go where those before them end, which is not known yet.
      const room = () => {
        const numbers = from === 0 ? numbersIn(chunk) : undefined;
        return numbers && bytesOf(numbers);
      };
      this.#owners.set({ digest, rawBytes, target, room }, chunk);
    }
  }

  /** What is to be read, in order. */
  wanted(): WantedChunk[] {
    return [...this.#owners.keys()];
  }

  /** A piece has come: decodes what that makes ready. @throws `ERR_STORE_CORRUPT` */
  take(codec: ColumnCodec, wanted: WantedChunk): void {
    const chunk = this.#owners.get(wanted)!;
    if (--chunk.missing > 0) return;
    const { column } = chunk;
    column.ready.set(chunk.at, chunk);
    for (;;) {
      const next = column.ready.get(column.next);
      if (next === undefined) return;
      column.ready.delete(column.next++);
      decode(codec, next);
      this.#scratch.give(next.bytes!);
      next.bytes = undefined;
    }
  }
}

/** The numbers a chunk is decoded into; `undefined` for texts and bools. */
function numbersIn({ column, from, to }: EncodedChunk): NumberArray | undefined {
  const { type, values } = column.out();
  const numbers = numbersOf(type);
  return numbers && values.subarray(from * numbers.perRow, to * numbers.perRow);
}

function decode(codec: ColumnCodec, chunk: EncodedChunk): void {
  const { column, from, to, bytes } = chunk;
  const out = column.out();
  const { name, type } = out;
  const target = numbersIn(chunk);
  const decoder = codec.decoder([{ name, type, bytes: bytes! }], to - from);
  const { values, offsets, validity } = decoder.decode(name, 0, to - from, target);
  if (validity !== undefined) putValidity(out, validity, from);
  if (type === "bool") (out.values as Uint8Array).set(values as Uint8Array, from >> 3);
  if (offsets !== undefined) putTexts(out, values as Uint8Array, offsets, from);
}
