import { Buffer } from "node:buffer";
import { createRequire } from "node:module";
import { promisify } from "node:util";
import * as zlib from "node:zlib";
import { decodeVcdiff } from "./vcdiff.ts";
import { boundZstdOutput } from "./zstd-frame.ts";

/** zstd's level for each profile: past 3 it costs several times the time for a percent or two. */
export const ZSTD_LEVEL = { fast: 1, compact: 3 } as const;

/**
 * The compressors that come from elsewhere, behind three small interfaces. None of them is trusted with a payload:
 * every decode is bounded by what the caller expects, and any failure of theirs is reported as `undefined`.
 */
export interface ZstdLibrary {
  encode(source: Uint8Array, level: number): Uint8Array;
  /** The same on a thread of the pool; `source` stays as it is until the promise resolves. */
  encodeAsync(source: Uint8Array, level: number): Promise<Uint8Array>;
  /** Undefined unless the frame decodes to exactly `sizeBytes`. */
  decode(payload: Uint8Array, sizeBytes: number): Uint8Array | undefined;
}

export interface Lz4Library {
  /** A u32 raw length, then one LZ4 block. */
  encode(source: Uint8Array): Uint8Array;
  decode(payload: Uint8Array, sizeBytes: number): Uint8Array | undefined;
}

export interface DeltaLibrary {
  /** Makes `encode` work; without it, it finds nothing. */
  load(): Promise<void>;
  /** A VCDIFF delta of at most `limitBytes`, or undefined when it would be larger. */
  encode(source: Uint8Array, base: Uint8Array, limitBytes: number): Uint8Array | undefined;
  decode(payload: Uint8Array, base: Uint8Array, sizeBytes: number): Uint8Array | undefined;
}

/** The bytes as an unshared Buffer: native code is not handed memory that another thread may write. */
function asBuffer(bytes: Uint8Array): Buffer {
  if (bytes.buffer instanceof ArrayBuffer) {
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  return Buffer.from(bytes);
}

/** The part of `node:zlib` that newer releases have (Node 22.15 and later). */
interface ZlibZstd {
  zstdCompressSync?: (source: Uint8Array, options: { params: Record<number, number> }) => Uint8Array;
  zstdCompress?: (
    source: Uint8Array,
    options: { params: Record<number, number> },
    done: (error: Error | null, frame: Uint8Array) => void,
  ) => void;
  zstdDecompressSync?: (payload: Uint8Array, options: { maxOutputLength: number }) => Uint8Array;
  constants: { ZSTD_c_compressionLevel?: number };
}

/** Required, not imported: several times as fast for packages of native code, and possible when first needed. */
const require = createRequire(import.meta.url);

export function loadZstd(): ZstdLibrary {
  const { zstdCompressSync, zstdCompress, zstdDecompressSync, constants } = zlib as ZlibZstd;
  const levelKey = constants.ZSTD_c_compressionLevel;
  if (zstdCompressSync && zstdCompress && zstdDecompressSync && levelKey !== undefined) {
    const encodeAsync = promisify(zstdCompress);
    return {
      encode: (source, level) => zstdCompressSync(asBuffer(source), { params: { [levelKey]: level } }),
      encodeAsync: (source, level) => encodeAsync(asBuffer(source), { params: { [levelKey]: level } }),
      decode: (payload, sizeBytes) =>
        boundedZstd(payload, sizeBytes, () =>
          zstdDecompressSync(asBuffer(payload), { maxOutputLength: Math.max(sizeBytes, 1) }),
        ),
    };
  }
  const { Encoder, Decoder } = require("@toondepauw/node-zstd") as typeof import("@toondepauw/node-zstd");
  const encoders = new Map<number, InstanceType<typeof Encoder>>();
  const encoderOf = (level: number) => {
    const known = encoders.get(level);
    if (known) return known;
    const made = new Encoder(level);
    encoders.set(level, made);
    return made;
  };
  const decoder = new Decoder();
  return {
    encode: (source, level) => encoderOf(level).encodeSync(asBuffer(source)),
    encodeAsync: (source, level) => encoderOf(level).encode(asBuffer(source)),
    decode: (payload, sizeBytes) =>
      boundedZstd(payload, sizeBytes, () => decoder.decodeSync(asBuffer(payload))),
  };
}

/** Runs a decoder only on a frame whose blocks cannot regenerate much more than is expected of it. */
function boundedZstd(
  payload: Uint8Array,
  sizeBytes: number,
  decode: () => Uint8Array,
): Uint8Array | undefined {
  if (!boundZstdOutput(payload, sizeBytes)) return undefined;
  return attempt(sizeBytes, decode);
}

/** zstd, loaded by the first payload that needs it. */
export function lazyZstd(): ZstdLibrary {
  let library: ZstdLibrary | undefined;
  const loaded = () => {
    library ??= loadZstd();
    return library;
  };
  return {
    encode: (source, level) => loaded().encode(source, level),
    encodeAsync: (source, level) => loaded().encodeAsync(source, level),
    decode: (payload, sizeBytes) => loaded().decode(payload, sizeBytes),
  };
}

export function loadLz4(): Lz4Library {
  const lz4 = require("lz4-napi") as typeof import("lz4-napi");
  return {
    encode: (source) => lz4.compressSync(asBuffer(source)),
    decode: (payload, sizeBytes) => {
      if (payload.length < 4) return undefined;
      const declaredBytes = new DataView(payload.buffer, payload.byteOffset, 4).getUint32(0, true);
      if (declaredBytes !== sizeBytes) return undefined;
      return attempt(sizeBytes, () => lz4.uncompressSync(asBuffer(payload)));
    },
  };
}

/** LZ4, loaded by the first payload that needs it. */
export function lazyLz4(): Lz4Library {
  let library: Lz4Library | undefined;
  const loaded = () => {
    library ??= loadLz4();
    return library;
  };
  return {
    encode: (source) => loaded().encode(source),
    decode: (payload, sizeBytes) => loaded().decode(payload, sizeBytes),
  };
}

/** Decoding is our own; what encodes takes 8 MB a thread and is loaded by the first thread that has a use for it. */
export function lazyDelta(): DeltaLibrary {
  let encode: DeltaLibrary["encode"] | undefined;
  return {
    load: async () => {
      encode ??= await loadDeltaEncoder();
    },
    encode: (source, base, limitBytes) => encode?.(source, base, limitBytes),
    decode: decodeVcdiff,
  };
}

async function loadDeltaEncoder(): Promise<DeltaLibrary["encode"]> {
  const { default: xdelta3 } = await import("xdelta3-wasm");
  await xdelta3.init();
  return (source, base, limitBytes) => {
    const { ret, output } = xdelta3.xd3_encode_memory(source, base, limitBytes, xdelta3.xd3_smatch_cfg.SLOW);
    if (ret !== 0) return undefined;
    // Its memory is fixed and its allocator unchecked: a delta counts only once it has decoded to the source.
    const decoded = decodeVcdiff(output, base, source.length);
    return decoded !== undefined && Buffer.compare(decoded, source) === 0 ? output : undefined;
  };
}

function attempt(sizeBytes: number, decode: () => Uint8Array): Uint8Array | undefined {
  let decoded: Uint8Array;
  try {
    decoded = decode();
  } catch {
    // Whatever a third-party decoder says about a payload, it means one thing here: no encoder wrote it.
    return undefined;
  }
  return decoded.length === sizeBytes ? decoded : undefined;
}
