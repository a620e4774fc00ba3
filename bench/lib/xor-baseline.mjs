// The method that varve's stored bytes are held against: XOR with the same tensor of the previous checkpoint, byte
// planes, zstd level 3; a first version the same without XOR. Nothing but the zstd frames is counted: no headers, names
// or checksums. Each result is decoded again and compared.
import { readFileSync } from "node:fs";
import zlib from "node:zlib";
import { filesIn } from "./places.mjs";

const BLOCK_BYTES = 256 * 1024;
const LEVEL = 3;
const WIDTHS = { F64: 8, I64: 8, U64: 8, C64: 8, F32: 4, I32: 4, U32: 4, F16: 2, BF16: 2, I16: 2, U16: 2 };

const zstd = await loadZstd();

async function loadZstd() {
  if (zlib.zstdCompressSync) {
    const params = { [zlib.constants.ZSTD_c_compressionLevel]: LEVEL };
    return { encode: (bytes) => zlib.zstdCompressSync(bytes, { params }), decode: zlib.zstdDecompressSync };
  }
  const { Encoder, Decoder } = await import("@toondepauw/node-zstd");
  const [encoder, decoder] = [new Encoder(LEVEL), new Decoder()];
  return { encode: (bytes) => encoder.encodeSync(bytes), decode: (bytes) => decoder.decodeSync(bytes) };
}

/** A trusted file's tensors by name; the store's own reader is strict, this one only feeds the bench. */
function tensorsOf(path) {
  const file = readFileSync(path);
  const dataAt = 8 + Number(file.readBigUInt64LE(0));
  const { __metadata__: _, ...entries } = JSON.parse(file.subarray(8, dataAt).toString());
  return new Map(
    Object.entries(entries).map(
      ([
        name,
        {
          dtype,
          data_offsets: [from, to],
        },
      ]) => [name, { widthBytes: WIDTHS[dtype] ?? 1, bytes: file.subarray(dataAt + from, dataAt + to) }],
    ),
  );
}

function xored(bytes, parent) {
  const out = Buffer.from(bytes);
  if (parent !== undefined) for (let i = 0; i < out.length; i++) out[i] ^= parent[i];
  return out;
}

function planesOf(bytes, widthBytes) {
  const count = bytes.length / widthBytes;
  return Array.from({ length: widthBytes }, (_, plane) => {
    const out = Buffer.alloc(count);
    for (let i = 0; i < count; i++) out[i] = bytes[i * widthBytes + plane];
    return out;
  });
}

/** One frame for the planes together, as the method is published; and the smaller of that and a frame a plane. */
function packedBytes(bytes, widthBytes) {
  const planes = planesOf(bytes, widthBytes);
  const laid = Buffer.concat(planes);
  const frame = zstd.encode(laid);
  if (Buffer.compare(zstd.decode(frame), laid) !== 0) throw new Error("zstd changed the planes");
  const apart = planes.reduce((sum, plane) => sum + Math.min(zstd.encode(plane).length, plane.length), 0);
  return { together: frame.length, best: Math.min(frame.length, apart) };
}

function tensorBytes({ bytes, widthBytes }, parent, blockBytes) {
  const change = xored(bytes, parent?.bytes.length === bytes.length ? parent.bytes : undefined);
  const sum = { together: 0, best: 0 };
  for (let at = 0; at < change.length; at += blockBytes) {
    const { together, best } = packedBytes(change.subarray(at, at + blockBytes), widthBytes);
    sum.together += together;
    sum.best += best;
  }
  return sum;
}

/**
 * Bytes the method takes for all versions: with tensors cut into blocks of 256 KiB, with whole tensors, and at its
 * best, where each tensor is coded in the smaller of these ways, with one frame or a frame for each plane. A file's
 * parent is the previous version's file of the same name, or its only file.
 */
export function xorBaseline(versions) {
  const totals = { blocksBytes: 0, wholeBytes: 0, bestBytes: 0 };
  let before = new Map();
  for (const version of versions) {
    const files = new Map(filesIn(version).map(([path, name]) => [name, tensorsOf(path)]));
    for (const [name, tensors] of files) {
      const parent =
        before.get(name) ?? (files.size === 1 && before.size === 1 ? [...before.values()][0] : undefined);
      for (const [tensor, value] of tensors) {
        const blocks = tensorBytes(value, parent?.get(tensor), BLOCK_BYTES);
        const whole = tensorBytes(value, parent?.get(tensor), Number.POSITIVE_INFINITY);
        totals.blocksBytes += blocks.together;
        totals.wholeBytes += whole.together;
        totals.bestBytes += Math.min(blocks.best, whole.best);
      }
    }
    before = files;
  }
  return totals;
}
