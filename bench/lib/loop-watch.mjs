import { PerformanceObserver } from "node:perf_hooks";
import { openThreadTimes } from "../../dist/cli/bench/schedstat.js";

/**
 * How long this thread's event loop was kept from its next turn, told apart by the kernel's own account of the thread:
 * what it ran, what it waited for a processor, and the rest, in which it slept: in a call to the kernel, or for another
 * thread of the process (which may be waiting for a processor itself).
 */
export class LoopWatch {
  #times = openThreadTimes();
  #before = this.#read();
  #heldMs = [];
  /** Begin and length of the longest turn, and of the collections that took over a millisecond. */
  #longest = { ms: 0, startMs: 0 };
  #collections = [];
  longestMs = 0;
  ranMs = 0;
  #timer = setInterval(() => this.#turn(), 1);
  #observer = new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries())
      if (duration > 1) this.#collections.push({ startMs: startTime, ms: duration });
  });

  constructor() {
    this.#observer.observe({ entryTypes: ["gc"] });
  }

  #read() {
    return { ms: performance.now(), ...this.#times.read() };
  }

  #turn() {
    const now = this.#read();
    const ms = now.ms - this.#before.ms - 1;
    const ownMs = ms - (now.waitedNs - this.#before.waitedNs) / 1e6;
    this.longestMs = Math.max(this.longestMs, ms);
    this.ranMs = Math.max(this.ranMs, (now.ranNs - this.#before.ranNs) / 1e6);
    if (ownMs > this.#longest.ms) this.#longest = { ms: ownMs, startMs: this.#before.ms };
    this.#heldMs.push(ownMs);
    this.#before = now;
  }

  stop() {
    clearInterval(this.#timer);
    this.#times.close();
    this.#observer.disconnect();
    const { startMs, ms } = this.#longest;
    const within = this.#collections.filter(
      (each) => each.startMs >= startMs && each.startMs <= startMs + ms + 1,
    );
    const sorted = this.#heldMs.sort((a, b) => a - b);
    const over20 = sorted.filter((ms) => ms > 20).length;
    return {
      longestMs: this.longestMs,
      ranMs: this.ranMs,
      heldMs: sorted.at(-1),
      over20,
      turns: sorted.length,
      longestGcMs: Math.max(0, ...this.#collections.map((each) => each.ms)),
      gcOfLongestMs: within.reduce((sum, each) => sum + each.ms, 0),
    };
  }
}
