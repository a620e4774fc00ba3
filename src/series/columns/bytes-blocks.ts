import { type Codec, encodingName } from "../../codec/codec.ts";
import { StoreError } from "../../errors.ts";
import type { ByteSink } from "./byte-sink.ts";
import type { ByteSource } from "./byte-source.ts";

/** Raw bytes of one block of text or binary: what reading one row decodes at most, beside longer rows. */
const BLOCK_BYTES = 128 << 10;

/** Bytes in blocks: encoding u8, sizeBytes varint and payload of each. Returns the first block's encoding. */
export function writeBytes(
  codec: Codec,
  sink: ByteSink,
  bytes: Uint8Array,
  profile: "light" | "compact",
): string {
  let said = "";
  for (let from = 0; from < bytes.length; from += BLOCK_BYTES) {
    const block = bytes.subarray(from, from + BLOCK_BYTES);
    const { encoding, payload } = codec.encode({
      bytes: block,
      element: "bytes",
      bases: [],
      profile: profile === "light" ? "fast" : "compact",
    });
    sink.u8(encoding).varint(payload.length).bytes(payload);
    said ||= encodingName(encoding);
  }
  return said || "empty";
}

export interface Block {
  encoding: number;
  payload: ByteSource;
}

/** Where the blocks of `sizeBytes` raw bytes lie. */
export function byteBlocks(source: ByteSource, sizeBytes: number): Block[] {
  const blocks: Block[] = [];
  for (let from = 0; from < sizeBytes; from += BLOCK_BYTES) {
    const encoding = source.u8();
    blocks.push({ encoding, payload: source.part(source.varint(BLOCK_BYTES)) });
  }
  return blocks;
}

/** Bytes [from, to) of `sizeBytes` in blocks. */
export function readBytes(
  codec: Codec,
  blocks: readonly Block[],
  sizeBytes: number,
  from: number,
  to: number,
): Uint8Array {
  const out = new Uint8Array(to - from);
  for (let block = Math.floor(from / BLOCK_BYTES); block * BLOCK_BYTES < to; block++) {
    const start = block * BLOCK_BYTES;
    const raw = decodeBlock(codec, blocks[block]!, Math.min(BLOCK_BYTES, sizeBytes - start));
    out.set(raw.subarray(Math.max(from - start, 0), to - start), Math.max(start - from, 0));
  }
  return out;
}

function decodeBlock(codec: Codec, { encoding, payload }: Block, sizeBytes: number): Uint8Array {
  const raw = new Uint8Array(sizeBytes);
  const source = payload.again();
  const bytes = source.bytes(source.left);
  try {
    codec.decode({ encoding, element: "bytes", payload: bytes, bases: [] }, raw);
  } catch (error) {
    if (error instanceof StoreError) throw payload.corrupt(error.message);
    throw error;
  }
  return raw;
}
