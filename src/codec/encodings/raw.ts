import { corrupt } from "../corrupt.ts";
import type { Encoding } from "../encoding.ts";

/** The chunk itself: what every other encoding must beat, and the bound on what any chunk costs. */
export const raw: Encoding = {
  id: 0,
  name: "raw",
  encode: (_workshop, { bytes }) => ({ payload: bytes, basesUsed: 0 }),
  decode: (_workshop, { payload }, target) => {
    if (payload.length !== target.length) {
      throw corrupt("raw", `has ${payload.length} bytes, the chunk has ${target.length}`);
    }
    target.set(payload);
  },
};
