import type { Encoding } from "./encoding.ts";
import { delta } from "./encodings/delta.ts";
import { lz4 } from "./encodings/lz4.ts";
import { packedDifference } from "./encodings/packed-difference.ts";
import { patch } from "./encodings/patch.ts";
import { planes } from "./encodings/planes.ts";
import { planesZstd, xorPlanesZstd } from "./encodings/planes-zstd.ts";
import { raw } from "./encodings/raw.ts";
import { replay } from "./encodings/replay.ts";
import { residual } from "./encodings/residual.ts";
import { zstd } from "./encodings/zstd.ts";

export {
  delta,
  lz4,
  packedDifference,
  patch,
  planes,
  planesZstd,
  raw,
  replay,
  residual,
  xorPlanesZstd,
  zstd,
};

/** Every encoding a frame may name, by its id on disk. */
export const ENCODINGS: ReadonlyMap<number, Encoding> = new Map(
  [raw, lz4, zstd, delta, planesZstd, xorPlanesZstd, planes, residual, replay, packedDifference, patch].map(
    (encoding) => [encoding.id, encoding],
  ),
);
