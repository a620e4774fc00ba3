import type { EncodeInput, Encoding } from "./encoding.ts";
import { delta, lz4, planesZstd, residual, zstd } from "./table.ts";

/** The encodings worth trying on a chunk; raw is always the fallback and not named. */
export function candidatesFor({ bytes, element, bases, profile }: EncodeInput): Encoding[] {
  if (bytes.length === 0) return [];
  const compact = profile === "compact";
  if (element === "bytes") return bases.length > 0 ? [zstd, delta] : [compact ? zstd : lz4];
  return bases.length > 0 ? [residual] : [planesZstd, lz4];
}
