import { monitorEventLoopDelay, PerformanceObserver } from "node:perf_hooks";
import { openThreadTimes } from "./schedstat.ts";

/** Microseconds. */
export interface Spread {
  p10: number;
  p50: number;
  p90: number;
  p99: number;
}

export function spreadOf(samples: readonly number[]): Spread {
  const sorted = Float64Array.from(samples).sort();
  const at = (share: number) => tenths(sorted[Math.floor(share * (sorted.length - 1))] ?? 0);
  return { p10: at(0.1), p50: at(0.5), p90: at(0.9), p99: at(0.99) };
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}

export function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}

export function hundredths(value: number): number {
  return Math.round(value * 100) / 100;
}

/** Puts the items into a random order, so that each follows each other equally often. */
export function shuffle<Item>(items: Item[]): void {
  for (let last = items.length - 1; last > 0; last--) {
    const other = Math.floor(Math.random() * (last + 1));
    [items[last], items[other]] = [items[other]!, items[last]!];
  }
}

/** Gives the event loop a turn. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The 99.9th percentile of how late the event loop came to a timer of one millisecond, in ms. */
export async function loopDelayMs(work: () => Promise<unknown>): Promise<number> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await work();
  delay.disable();
  return hundredths(delay.percentile(99.9) / 1e6);
}

export interface Hold {
  /** The longest time between two turns of the event loop. */
  longestMs: number;
  /** The longest after what the thread waited for a processor is taken off, where the system tells of that. */
  longestOwnMs: number | undefined;
}

/** The longest time between two turns of the event loop while `work` runs. */
export async function longestHold(work: () => Promise<unknown>): Promise<Hold> {
  const times = openThreadTimes();
  const waitedMs = () => (times?.read().waitedNs ?? 0) / 1e6;
  let longest = 0;
  let longestOwn = 0;
  let last = performance.now();
  let lastWaited = waitedMs();
  let isRunning = true;
  const tick = () => {
    if (!isRunning) return;
    const now = performance.now();
    const nowWaited = waitedMs();
    longest = Math.max(longest, now - last);
    longestOwn = Math.max(longestOwn, now - last - (nowWaited - lastWaited));
    last = now;
    lastWaited = nowWaited;
    setImmediate(tick);
  };
  setImmediate(tick);
  try {
    await work();
  } finally {
    isRunning = false;
    times?.close();
  }
  return {
    longestMs: hundredths(longest),
    longestOwnMs: times === undefined ? undefined : hundredths(longestOwn),
  };
}

/** The longest garbage collection while `work` runs, in ms. */
export async function longestCollectionMs(work: () => Promise<unknown>): Promise<number> {
  let longest = 0;
  const observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) longest = Math.max(longest, duration);
  });
  observer.observe({ entryTypes: ["gc"] });
  await work();
  // What was observed last is told in a later turn.
  await pause(2);
  observer.disconnect();
  return hundredths(longest);
}
