import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { CHUNK_BYTES_MAX } from "../../src/limits.ts";
import { loadZstd } from "../compression/zstd.ts";

type Decompress = (input: Uint8Array, outputBytes: number) => Uint8Array;

/** A page is 1 MiB by custom; some writers make them much larger. */
const PAGE_BYTES_MAX = CHUNK_BYTES_MAX * 1024;

/** What Parquet files are compressed with beside Snappy, which hyparquet has itself. Each is bounded by its page's size. */
export async function decompressors(): Promise<Record<string, Decompress>> {
  const [zstd, { default: lz4 }] = await Promise.all([loadZstd(), import("lz4-napi")]);
  return {
    ZSTD: (input, outputBytes) => zstd.decompress(input, bounded(outputBytes)),
    GZIP: (input, outputBytes) => gunzipSync(input, { maxOutputLength: bounded(outputBytes) }),
    BROTLI: (input, outputBytes) => brotliDecompressSync(input, { maxOutputLength: bounded(outputBytes) }),
    LZ4_RAW: (input, outputBytes) => {
      const block = Buffer.alloc(4 + input.length);
      block.writeUInt32LE(bounded(outputBytes));
      block.set(input, 4);
      return lz4.uncompressSync(block);
    },
  };
}

function bounded(outputBytes: number): number {
  return Math.max(1, Math.min(outputBytes, PAGE_BYTES_MAX));
}
