import { crc32c } from "@node-rs/crc32";

/** CRC-32C (Castagnoli, RFC 3720 appendix B.4) of bytes, as an unsigned number. */
export function checksumOf(bytes: Uint8Array): number {
  return crc32c(bytes);
}
