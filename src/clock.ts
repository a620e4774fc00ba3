/** Microseconds since the Unix epoch by the wall clock. */
export function wallClockUs(): bigint {
  return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000));
}
