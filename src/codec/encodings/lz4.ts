import { corrupt } from "../corrupt.ts";
import type { Encoding } from "../encoding.ts";

/** The chunk as one LZ4 block behind its u32 raw length: for repetitive chunks in the fast profile. */
export const lz4: Encoding = {
  id: 1,
  name: "lz4",
  encode: (workshop, { bytes }) => {
    const payload = workshop.lz4.encode(bytes);
    return payload.length < bytes.length ? { payload, basesUsed: 0 } : undefined;
  },
  decode: (workshop, { payload }, target) => {
    const decoded = workshop.lz4.decode(payload, target.length);
    if (decoded === undefined) throw corrupt("lz4", `does not decode to ${target.length} bytes`);
    target.set(decoded);
  },
};
