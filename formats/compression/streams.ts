import { createGunzip, createGzip } from "node:zlib";
import { StoreError } from "../../src/errors.ts";
import { TABLE_FILE_BYTES_MAX } from "../../src/limits.ts";
import { loadZstd } from "./zstd.ts";

/** Whole files that are compressed: by what, and their bytes without it. */
export type Compression = "none" | "gzip" | "zstd";

type Chunks = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** By the first bytes, whatever the file is called. */
export function detectCompression(head: Uint8Array): Compression {
  if (head[0] === 0x1f && head[1] === 0x8b) return "gzip";
  if (head[0] === 0x28 && head[1] === 0xb5 && head[2] === 0x2f && head[3] === 0xfd) return "zstd";
  return "none";
}

/**
 * The bytes of a compressed file. gzip is read as it comes (several members one after the other are one file); zstd
 * needs the whole file in memory.
 * @throws `ERR_FORMAT_COMPRESSED` where the file is damaged or ends too early
 */
export async function* decompress(chunks: Chunks, compression: Compression): AsyncGenerator<Uint8Array> {
  if (compression === "gzip") yield* gunzip(chunks);
  else if (compression === "zstd") {
    const bytes = await collect(chunks);
    yield (await loadZstd()).decompress(bytes, TABLE_FILE_BYTES_MAX);
  } else yield* chunks;
}

/** Bytes of one zstd frame before compression: each stands alone, and a reader without streams needs no more at once. */
const ZSTD_FRAME_BYTES = 4 << 20;

/** The chunks compressed: one gzip member, or zstd frames of 4 MiB. */
export async function* compress(chunks: Chunks, compression: Compression): AsyncGenerator<Uint8Array> {
  if (compression === "gzip") yield* piped(chunks, createGzip());
  else if (compression === "zstd") yield* zstdFrames(chunks);
  else yield* chunks;
}

async function* zstdFrames(chunks: Chunks): AsyncGenerator<Uint8Array> {
  const zstd = await loadZstd();
  let waiting: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of chunks) {
    waiting.push(chunk);
    sizeBytes += chunk.length;
    if (sizeBytes < ZSTD_FRAME_BYTES) continue;
    yield zstd.compress(Buffer.concat(waiting));
    waiting = [];
    sizeBytes = 0;
  }
  yield zstd.compress(Buffer.concat(waiting));
}

async function* gunzip(chunks: Chunks): AsyncGenerator<Uint8Array> {
  let read = 0;
  try {
    for await (const chunk of piped(chunks, createGunzip())) {
      read += chunk.length;
      yield chunk;
    }
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (!code?.startsWith("Z_")) throw cause;
    const what = code === "Z_BUF_ERROR" ? "the file ends too early" : message;
    throw new StoreError("ERR_FORMAT_COMPRESSED", `gzip data cannot be read after ${read} bytes: ${what}`, {
      cause,
      context: { readBytes: read },
      hint: "Fetch the file again: a download or copy that was cut off looks like this.",
    });
  }
}

/** Feeds a transform as fast as it is read from; an error of either side reaches the reader. */
async function* piped(
  chunks: Chunks,
  transform: NodeJS.ReadWriteStream & AsyncIterable<unknown> & { destroy(error?: Error): unknown },
): AsyncGenerator<Uint8Array> {
  const feed = async () => {
    try {
      for await (const chunk of chunks) {
        if (transform.write(chunk)) continue;
        await new Promise<void>((resolve) => {
          const go = () => {
            for (const event of ["drain", "close", "error"]) transform.off(event, go);
            resolve();
          };
          for (const event of ["drain", "close", "error"]) transform.on(event, go);
        });
        if ((transform as unknown as { destroyed: boolean }).destroyed) return;
      }
      transform.end();
    } catch (error) {
      transform.destroy(error as Error);
    }
  };
  const feeding = feed();
  yield* transform as AsyncIterable<Uint8Array>;
  await feeding;
}

/** All chunks as one, bounded. @throws `ERR_LIMIT` */
export async function collect(chunks: Chunks, maxBytes = TABLE_FILE_BYTES_MAX): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of chunks) {
    parts.push(chunk);
    sizeBytes += chunk.length;
    if (sizeBytes > maxBytes) {
      throw new StoreError("ERR_LIMIT", `the file holds over ${maxBytes} bytes, and has to be read whole`, {
        context: { limitBytes: maxBytes },
        hint: "Split it, or bring it as CSV or as an Arrow stream, which are read as they come.",
      });
    }
  }
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}
