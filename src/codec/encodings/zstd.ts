import { corrupt } from "../corrupt.ts";
import type { Encoding } from "../encoding.ts";
import { ZSTD_LEVEL } from "../libraries.ts";

/** The chunk as one zstd frame: for what has no elements. */
export const zstd: Encoding = {
  id: 2,
  name: "zstd",
  encode: (workshop, { bytes, profile }) => {
    const payload = workshop.zstd.encode(bytes, ZSTD_LEVEL[profile]);
    return payload.length < bytes.length ? { payload, basesUsed: 0 } : undefined;
  },
  decode: (workshop, { payload }, target) => {
    const decoded = workshop.zstd.decode(payload, target.length);
    if (decoded === undefined) throw corrupt("zstd", `does not decode to ${target.length} bytes`);
    target.set(decoded);
  },
};
