import { blake3 } from "@napi-rs/blake-hash";

/** BLAKE3-256 of a chunk's raw bytes: the name of the chunk, whatever way it is stored. */
export const DIGEST_BYTES = 32;

/** A frame names its bases by the first 16 bytes of their digests; what is decoded from them is checked whole. */
export const SHORT_DIGEST_BYTES = 16;

/** The digest of raw bytes, 32 bytes, owned by the caller. */
export function digestOf(bytes: Uint8Array): Uint8Array {
  return blake3(bytes);
}

/** A digest as a key of a `Map` or `Set`: one character a byte. */
export function digestKey(digest: Uint8Array): string {
  return Buffer.from(digest.buffer, digest.byteOffset, digest.byteLength).toString("latin1");
}

export function digestOfKey(key: string): Uint8Array {
  return Buffer.from(key, "latin1");
}

/** The first 12 hexadecimal digits, for messages. */
export function digestText(digest: Uint8Array): string {
  return Buffer.from(digest.buffer, digest.byteOffset, digest.byteLength).toString("hex", 0, 6);
}

export function sameDigest(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
