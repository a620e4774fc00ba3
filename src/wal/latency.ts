/** Buckets per doubling: a percentile is off by at most a fifth of itself. */
const STEPS = 4;
const STEP_BITS = 2;
/** The finest time told apart: 1/16 µs. */
const UNITS_PER_US = 16;

export interface LatencySummary {
  count: number;
  meanUs: number;
  p50Us: number;
  p99Us: number;
  p999Us: number;
  maxUs: number;
}

/** How large something was, from the same kind of histogram. */
export interface CountSummary {
  count: number;
  mean: number;
  p50: number;
  p99: number;
  max: number;
}

/** A histogram of durations with logarithmic buckets: a few nanoseconds and no memory for each one recorded. */
export class LatencyHistogram {
  readonly #buckets = new Float64Array(32 * STEPS);
  #count = 0;
  #sumUs = 0;
  #maxUs = 0;

  record(us: number): void {
    const units = Math.min(0x7fffffff, us * UNITS_PER_US) | 0;
    const exponent = 31 - Math.clz32(units | 1);
    const step = exponent < STEP_BITS ? 0 : (units >>> (exponent - STEP_BITS)) & (STEPS - 1);
    this.#buckets[exponent * STEPS + step]!++;
    this.#count++;
    this.#sumUs += us;
    if (us > this.#maxUs) this.#maxUs = us;
  }

  /** The duration that `share` of all recorded ones did not exceed, from 0 to 1; 0 when nothing was recorded. */
  quantileUs(share: number): number {
    let left = share * this.#count;
    for (let index = 0; index < this.#buckets.length; index++) {
      left -= this.#buckets[index]!;
      if (left > 0 || this.#buckets[index] === 0) continue;
      const exponent = Math.floor(index / STEPS);
      const upper = 2 ** exponent * (1 + ((index % STEPS) + 1) / STEPS);
      return Math.min(this.#maxUs, upper / UNITS_PER_US);
    }
    return this.#maxUs;
  }

  /** The same for whole numbers recorded in the place of microseconds. */
  counts(): CountSummary {
    const { count, meanUs, p50Us, p99Us, maxUs } = this.summary();
    return { count, mean: meanUs, p50: Math.floor(p50Us), p99: Math.floor(p99Us), max: maxUs };
  }

  summary(): LatencySummary {
    return {
      count: this.#count,
      meanUs: this.#count === 0 ? 0 : this.#sumUs / this.#count,
      p50Us: this.quantileUs(0.5),
      p99Us: this.quantileUs(0.99),
      p999Us: this.quantileUs(0.999),
      maxUs: this.#maxUs,
    };
  }
}
