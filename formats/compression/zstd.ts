import * as zlib from "node:zlib";
import { StoreError } from "../../src/errors.ts";

/** What newer releases of Node have (22.15 and later). */
interface ZlibZstd {
  zstdCompressSync?: (source: Uint8Array, options: { params: Record<number, number> }) => Uint8Array;
  zstdDecompressSync?: (payload: Uint8Array, options: { maxOutputLength: number }) => Uint8Array;
  constants: { ZSTD_c_compressionLevel?: number };
}

export interface Zstd {
  compress(bytes: Uint8Array, level?: number): Uint8Array;
  /** All frames of `bytes`. @throws `ERR_FORMAT_COMPRESSED` when they are damaged, cut short, or hold over `maxBytes` */
  decompress(bytes: Uint8Array, maxBytes: number): Uint8Array;
}

const LEVEL = 3;

/** Loads the platform's own zstd, or else a library's. */
export async function loadZstd(): Promise<Zstd> {
  const { zstdCompressSync, zstdDecompressSync, constants } = zlib as ZlibZstd;
  const levelKey = constants.ZSTD_c_compressionLevel;
  if (zstdCompressSync !== undefined && zstdDecompressSync !== undefined && levelKey !== undefined) {
    return {
      compress: (bytes, level = LEVEL) => zstdCompressSync(bytes, { params: { [levelKey]: level } }),
      decompress: (bytes, maxBytes) =>
        decoded(bytes, maxBytes, () => zstdDecompressSync(bytes, { maxOutputLength: Math.max(1, maxBytes) })),
    };
  }
  const { Encoder, Decoder } = await import("@toondepauw/node-zstd");
  const decoder = new Decoder();
  const asBuffer = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    compress: (bytes, level = LEVEL) => new Encoder(level).encodeSync(asBuffer(bytes)),
    decompress: (bytes, maxBytes) => decoded(bytes, maxBytes, () => decoder.decodeSync(asBuffer(bytes))),
  };
}

function decoded(bytes: Uint8Array, maxBytes: number, decode: () => Uint8Array): Uint8Array {
  const leastBytes = leastOutput(bytes);
  if (leastBytes === undefined) throw damaged("they are damaged or cut short");
  if (leastBytes > maxBytes) throw damaged(`they hold over ${maxBytes} bytes`);
  let out: Uint8Array;
  try {
    out = decode();
  } catch (cause) {
    throw damaged("they are damaged", cause);
  }
  if (out.length > maxBytes) throw damaged(`they hold over ${maxBytes} bytes`);
  return out;
}

function damaged(what: string, cause?: unknown): StoreError {
  return new StoreError("ERR_FORMAT_COMPRESSED", `zstd frames cannot be read: ${what}`, {
    cause,
    hint: "Fetch the file again; if it is whole, it was written by something else.",
  });
}

/**
 * Walks frames and blocks without decoding (RFC 8878): at least how many bytes they give, so that a small hostile file
 * does not ask for gigabytes, or `undefined` when they do not end where the bytes do. A compressed block counts as 1
 * here and gives 128 KiB at most, which its own 3 bytes of header bound well enough.
 */
function leastOutput(bytes: Uint8Array): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  let least = 0;
  while (at < bytes.length) {
    if (at + 8 > bytes.length) return undefined;
    const magic = view.getUint32(at, true);
    if (magic >>> 4 === 0x184d2a5) {
      at += 8 + view.getUint32(at + 4, true);
      continue;
    }
    if (magic !== 0xfd2fb528) return undefined;
    const descriptor = bytes[at + 4]!;
    const single = (descriptor & 32) !== 0;
    const sizeClass = descriptor >> 6;
    at +=
      5 +
      (single ? 0 : 1) +
      [0, 1, 2, 4][descriptor & 3]! +
      (sizeClass === 0 ? (single ? 1 : 0) : 1 << sizeClass);
    for (let last = false; !last; ) {
      if (at + 3 > bytes.length) return undefined;
      const header = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16);
      last = (header & 1) === 1;
      const type = (header >> 1) & 3;
      const sizeBytes = header >> 3;
      if (type === 3) return undefined;
      at += 3 + (type === 1 ? 1 : sizeBytes);
      least += type === 2 ? 1 : sizeBytes;
    }
    if ((descriptor & 4) !== 0) at += 4;
  }
  return at === bytes.length ? least : undefined;
}
