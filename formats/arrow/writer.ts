import {
  AsyncByteQueue,
  CompressionType,
  compressionRegistry,
  RecordBatchFileWriter,
  RecordBatchStreamWriter,
  type RecordBatchWriter,
} from "apache-arrow";
import { BufferRegion } from "apache-arrow/ipc/metadata/message";
import { requireSameColumns } from "../tables/combine.ts";
import type { Table } from "../tables/table.ts";
import { type ArrowCompression, type BufferCodec, loadLz4Frames, loadZstdFrames } from "./buffers.ts";
import { arrowSchema, toRecordBatch } from "./convert.ts";

export interface ArrowOptions {
  /** `file` (default) can be read at any batch, `stream` as it comes. */
  layout?: "file" | "stream";
  /** Default: none. */
  compression?: ArrowCompression;
}

/**
 * Tables as Apache Arrow IPC, one record batch each. All have the columns of the first.
 *
 * A compressed buffer is the length of the raw bytes as an i64, then an LZ4 frame or zstd frame, or -1 and the raw
 * bytes where compressing does not pay (Arrow columnar format, "Compression").
 */
export async function* writeArrow(
  tables: AsyncIterable<Table> | Iterable<Table>,
  { layout = "file", compression = "none" }: ArrowOptions = {},
): AsyncGenerator<Uint8Array> {
  const codec =
    compression === "none" ? undefined : await (compression === "lz4" ? loadLz4Frames() : loadZstdFrames());
  const writer = openWriter(layout, compression, codec);
  const sink = new ChunkSink();
  let first: Table | undefined;
  for await (const table of tables) {
    if (first === undefined) writer.reset(sink as never, arrowSchema(table));
    first ??= table;
    requireSameColumns(first.columns, table.columns);
    writer.write(toRecordBatch(table, arrowSchema(first)));
    yield* sink.drain();
  }
  if (first === undefined) writer.reset(sink as never, arrowSchema({ rows: 0, columns: [] }));
  writer.finish();
  yield* sink.drain();
}

/** Holds what the writer puts out until it is handed on. */
class ChunkSink extends AsyncByteQueue {
  readonly #chunks: Uint8Array[] = [];

  override write(chunk: ArrayBufferView): void {
    this.#chunks.push(new Uint8Array(chunk.buffer as ArrayBuffer, chunk.byteOffset, chunk.byteLength));
  }

  *drain(): Generator<Uint8Array> {
    yield* this.#chunks.splice(0);
  }
}

type Assembled = { byteLength: number; bufferRegions: BufferRegion[]; buffers: ArrayBufferView[] };

/** Rounds up to what Arrow aligns buffers to. */
function aligned(sizeBytes: number): number {
  return Math.ceil(sizeBytes / 8) * 8;
}

/** apache-arrow 21.2 puts the compressed length before a buffer where readers expect the raw one. */
function compressBuffers(codec: BufferCodec, buffers: ArrayBufferView[]): Assembled {
  const parts: Uint8Array[] = [];
  const bufferRegions: BufferRegion[] = [];
  let at = 0;
  for (const buffer of buffers) {
    const raw = new Uint8Array(buffer.buffer as ArrayBuffer, buffer.byteOffset, buffer.byteLength);
    if (raw.length === 0) {
      parts.push(raw, raw);
      bufferRegions.push(new BufferRegion(at, 0));
      continue;
    }
    const encoded = codec.encode(raw);
    const pays = encoded.length < raw.length;
    const body = pays ? encoded : raw;
    const prefix = Buffer.alloc(8);
    prefix.writeBigInt64LE(pays ? BigInt(raw.length) : -1n);
    parts.push(prefix, body);
    bufferRegions.push(new BufferRegion(at, 8 + body.length));
    at += aligned(8 + body.length);
  }
  return { byteLength: at, bufferRegions, buffers: parts };
}

function openWriter(
  layout: "file" | "stream",
  compression: ArrowCompression,
  codec: BufferCodec | undefined,
): RecordBatchWriter {
  if (codec === undefined) {
    return layout === "file" ? new RecordBatchFileWriter() : new RecordBatchStreamWriter();
  }
  const compressionType = compression === "lz4" ? CompressionType.LZ4_FRAME : CompressionType.ZSTD;
  // The writer looks only that there is one.
  if (compressionRegistry.get(compressionType) === null) compressionRegistry.set(compressionType, codec);
  const options = { compressionType };
  if (layout === "file") {
    return new (class extends RecordBatchFileWriter {
      protected override _compressBodyBuffers(buffers: ArrayBufferView[]): Assembled {
        return compressBuffers(codec, buffers);
      }
    })(options);
  }
  return new (class extends RecordBatchStreamWriter {
    protected override _compressBodyBuffers(buffers: ArrayBufferView[]): Assembled {
      return compressBuffers(codec, buffers);
    }
  })(options);
}
