import { CODEC_BASES_MAX } from "../../limits.ts";
import { corrupt } from "../corrupt.ts";
import type { Encoding } from "../encoding.ts";

/**
 * A VCDIFF delta against the bases laid end to end: for opaque files, whose bytes move.
 *
 *     bases u8 | delta
 */
export const delta: Encoding = {
  id: 3,
  name: "delta",
  encode: (workshop, { bytes, bases }) => {
    const offered = bases.slice(0, CODEC_BASES_MAX);
    if (offered.length === 0 || bytes.length < 2) return undefined;
    const encoded = workshop.delta.encode(bytes, endToEnd(offered), bytes.length - 1);
    if (encoded === undefined) return undefined;
    const payload = new Uint8Array(1 + encoded.length);
    payload[0] = offered.length;
    payload.set(encoded, 1);
    return { payload, basesUsed: offered.length };
  },
  decode: (workshop, { payload, bases }, target) => {
    const count = payload[0] ?? 0;
    if (count === 0 || count > CODEC_BASES_MAX || count > bases.length) {
      throw corrupt("delta", `needs ${count} bases, the frame names ${bases.length}`);
    }
    const decoded = workshop.delta.decode(
      payload.subarray(1),
      endToEnd(bases.slice(0, count)),
      target.length,
    );
    if (decoded === undefined) throw corrupt("delta", `does not decode to ${target.length} bytes`);
    target.set(decoded);
  },
};

function endToEnd(bases: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(bases.reduce((sum, base) => sum + base.length, 0));
  let at = 0;
  for (const base of bases) {
    whole.set(base, at);
    at += base.length;
  }
  return whole;
}
