/**
 * Wall-clock microseconds since the Unix epoch.
 *
 * `Date.now` ticks in milliseconds, the monotonic clock in nanoseconds but never follows a correction; this one
 * counts with the second and goes back to the first whenever the two are more than 2 ms apart.
 *
 * A caller that has just read `performance.now()` hands it in.
 */
export type Clock = (monotonicMs?: number) => number;

const DRIFT_MS_MAX = 2;

export function createClock(): Clock {
  let anchorWallMs = Date.now();
  let anchorMonotonicMs = performance.now();
  return (monotonicMs = performance.now()) => {
    const wallMs = Date.now();
    let nowMs = anchorWallMs + (monotonicMs - anchorMonotonicMs);
    if (Math.abs(nowMs - wallMs) > DRIFT_MS_MAX) {
      anchorWallMs = wallMs;
      anchorMonotonicMs = monotonicMs;
      nowMs = wallMs;
    }
    return Math.floor(nowMs * 1000);
  };
}
