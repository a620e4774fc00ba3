import { CompressionType, compressionRegistry, RecordBatchReader } from "apache-arrow";
import { isStoreError, StoreError } from "../../src/errors.ts";
import type { Table } from "../tables/table.ts";
import { loadLz4Frames, loadZstdFrames } from "./buffers.ts";
import { type Expansion, fromArrow } from "./convert.ts";
import { type VerifyOptions, verifyArrow } from "./verify.ts";

export interface ReadArrowOptions extends VerifyOptions {
  /** Bytes that values of dictionaries may take at all rows that name them. Default: 2 GiB a batch. */
  expandedBytesMax?: number;
}

/**
 * Reads Arrow IPC, a file or a stream, as one table a record batch. Columns are views of `bytes` where they are not
 * compressed. All metadata are looked at first: what the library makes of them is bounded by the size of `bytes`.
 * @throws `ERR_FORMAT_ARROW` for bytes that are no whole Arrow, and for types that have no place in a table
 */
export async function* readArrow(bytes: Uint8Array, options: ReadArrowOptions = {}): AsyncGenerator<Table> {
  if (options.compressed !== false) await registerCodecs();
  // Its reader takes an empty input for an empty stream.
  if (bytes.length < 8) throw notArrow("it has only a few bytes");
  const isFile = Buffer.from(bytes.subarray(0, 6)).toString("latin1") === "ARROW1";
  if (isFile && Buffer.from(bytes.subarray(-6)).toString("latin1") !== "ARROW1")
    throw notArrow("it ends too early");
  verifyArrow(bytes, options);
  const { expandedBytesMax } = options;
  const expansion: Expansion | undefined =
    expandedBytesMax === undefined ? undefined : { leftBytes: expandedBytesMax };
  let read = 0;
  const batches = guarded(() => {
    const reader = RecordBatchReader.from(alignedCopy(bytes)).open();
    return { reader, iterator: reader[Symbol.iterator]() };
  });
  if (batches.reader.schema === undefined) throw notArrow("it has no schema");
  const { numRecordBatches } = batches.reader as { numRecordBatches?: number };
  for (;;) {
    const table = guarded(() => {
      const { done, value } = batches.iterator.next();
      return done === true ? undefined : fromArrow(value, expansion);
    });
    if (table === undefined) break;
    read += 1;
    yield table;
  }
  if (isFile && numRecordBatches !== undefined && read !== numRecordBatches)
    throw notArrow("batches are missing");
  if (!isFile && !endsWithEos(bytes)) throw notArrow("it ends too early");
  if (read === 0) yield guarded(() => emptyOf(batches.reader));
}

function emptyOf(reader: RecordBatchReader): Table {
  return fromArrow({ batches: [], schema: reader.schema } as never);
}

/** A stream ends with a continuation mark and a length of zero; without it, it was cut off at a batch's end. */
function endsWithEos(bytes: Uint8Array): boolean {
  const tail = Buffer.from(bytes.subarray(-8));
  return tail.equals(Buffer.from([255, 255, 255, 255, 0, 0, 0, 0]));
}

/** Buffers are views of the input, which has to begin where 64-bit numbers may. */
function alignedCopy(bytes: Uint8Array): Uint8Array {
  return bytes.byteOffset % 8 === 0 ? bytes : new Uint8Array(bytes);
}

/** Whatever the library says of damaged bytes, it is one thing here. */
function guarded<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (isStoreError(cause, "ERR_FORMAT_COMPRESSED")) throw notArrow("a compressed buffer is damaged", cause);
    if (isStoreError(cause)) throw cause;
    throw notArrow((cause as Error).message, cause);
  }
}

function notArrow(what: string, cause?: unknown): StoreError {
  return new StoreError("ERR_FORMAT_ARROW", `the Arrow data cannot be read: ${what}`, {
    cause,
    hint: "The file is damaged, cut short, or no Arrow IPC.",
  });
}

let registered: Promise<void> | undefined;

/** Gives apache-arrow the decoders it has none of. */
function registerCodecs(): Promise<void> {
  registered ??= (async () => {
    const [lz4, zstd] = await Promise.all([loadLz4Frames(), loadZstdFrames()]);
    compressionRegistry.set(CompressionType.LZ4_FRAME, lz4);
    compressionRegistry.set(CompressionType.ZSTD, zstd);
  })();
  return registered;
}
