import { StoreError } from "../../src/errors.ts";
import { ARROW_BUFFER_BYTES_MAX } from "../../src/limits.ts";
import { loadZstd } from "../compression/zstd.ts";

/** How an Arrow file's buffers are compressed: each alone, so that one column can be read without the others. */
export type ArrowCompression = "none" | "lz4" | "zstd";

export interface BufferCodec {
  encode(bytes: Uint8Array): Uint8Array;
  /** @throws `ERR_FORMAT_ARROW` when the bytes are damaged */
  decode(bytes: Uint8Array): Uint8Array;
}

export async function loadLz4Frames(): Promise<BufferCodec> {
  const { default: lz4 } = await import("lz4-napi");
  // LZ4 gives 255 bytes for one at most: what a frame decodes to is bounded by the file's own size.
  return {
    encode: (bytes) => lz4.compressFrameSync(asBuffer(bytes)),
    decode: (bytes) => {
      try {
        return lz4.decompressFrameSync(asBuffer(bytes));
      } catch (cause) {
        throw damaged("an LZ4 buffer is damaged", cause);
      }
    },
  };
}

export async function loadZstdFrames(): Promise<BufferCodec> {
  const zstd = await loadZstd();
  return {
    encode: (bytes) => zstd.compress(bytes, 1),
    decode: (bytes) => zstd.decompress(bytes, ARROW_BUFFER_BYTES_MAX),
  };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function damaged(what: string, cause?: unknown): StoreError {
  return new StoreError("ERR_FORMAT_ARROW", what, { cause, hint: "The file is damaged or cut short." });
}
