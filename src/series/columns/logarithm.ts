/**
 * The natural logarithm from basic operations alone, so that every machine gets the same bits: `Math.log` may differ
 * between engines. Within 1 unit of the last place. x = 2^k m with m near 1, and ln m by the series of
 * ln((1 + s) / (1 - s)) with s = (m - 1) / (m + 1), summed so that the leading term stays exact, as in W. Cody and
 * W. Waite, "Software Manual for the Elementary Functions" (1980), and later in fdlibm.
 */
export function logarithm(x: number): number {
  if (!(x > 0)) return x === 0 ? Number.NEGATIVE_INFINITY : Number.NaN;
  if (x === Number.POSITIVE_INFINITY) return x;
  // Denormals are brought up first.
  const scaled = x < 2 ** -1022;
  float[0] = scaled ? x * 2 ** 54 : x;
  let exponent = (words[1]! >>> 20) - 1023 - (scaled ? 54 : 0);
  words[1] = (words[1]! & 0xfffff) | 0x3ff00000;
  let m = float[0]!;
  if (m > Math.SQRT2) {
    m /= 2;
    exponent++;
  }
  const f = m - 1;
  const s = f / (2 + f);
  const z = s * s;
  let rest = 0;
  for (let n = 23; n >= 3; n -= 2) rest = z * (2 / n + rest);
  const half = 0.5 * f * f;
  if (exponent === 0) return f - (half - s * (half + rest));
  return exponent * LN2_HIGH - (half - (s * (half + rest) + exponent * LN2_LOW) - f);
}

const float = new Float64Array(1);
const words = new Uint32Array(float.buffer);

/** ln 2 in two parts; the first has 21 zeros at its end, so that a whole multiple of it is exact. */
const LN2_HIGH = 0.6931471803691238;
const LN2_LOW = 1.9082149292705877e-10;
