/** What a histogram has seen, in the unit it was fed with. */
export interface HistogramSummary {
  count: number;
  min: number;
  mean: number;
  p50: number;
  p90: number;
  p99: number;
  p999: number;
  max: number;
}

const SUB_BITS = 4;
const SUB_BUCKETS = 1 << SUB_BITS;
const BUCKETS = (32 - SUB_BITS + 1) * SUB_BUCKETS;

/**
 * Counts whole numbers up to 2³²−1 in buckets 1/16 of a power of two wide, so that a percentile is right to
 * 6 % whatever its size. Recording touches one counter and allocates nothing.
 */
export class Histogram {
  readonly #counts = new Float64Array(BUCKETS);
  #count = 0;
  #sum = 0;
  #min = Number.POSITIVE_INFINITY;
  #max = 0;

  record(value: number): void {
    const whole = value < 0 ? 0 : value > 0xffff_ffff ? 0xffff_ffff : Math.floor(value);
    this.#counts[bucketOf(whole)]!++;
    this.#count++;
    this.#sum += whole;
    if (whole < this.#min) this.#min = whole;
    if (whole > this.#max) this.#max = whole;
  }

  summary(): HistogramSummary {
    const count = this.#count;
    if (count === 0) return { count, min: 0, mean: 0, p50: 0, p90: 0, p99: 0, p999: 0, max: 0 };
    return {
      count,
      min: this.#min,
      mean: this.#sum / count,
      p50: this.#percentile(0.5),
      p90: this.#percentile(0.9),
      p99: this.#percentile(0.99),
      p999: this.#percentile(0.999),
      max: this.#max,
    };
  }

  #percentile(fraction: number): number {
    const rank = Math.ceil(this.#count * fraction);
    let seen = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      seen += this.#counts[bucket]!;
      if (seen >= rank) return Math.min(upperBound(bucket), this.#max);
    }
    return this.#max;
  }
}

function bucketOf(value: number): number {
  if (value < SUB_BUCKETS) return value;
  const shift = 31 - Math.clz32(value) - SUB_BITS;
  return (shift + 1) * SUB_BUCKETS + ((value >>> shift) - SUB_BUCKETS);
}

function upperBound(bucket: number): number {
  if (bucket < SUB_BUCKETS) return bucket;
  const shift = Math.floor(bucket / SUB_BUCKETS) - 1;
  const low = SUB_BUCKETS + (bucket % SUB_BUCKETS);
  return (low + 1) * 2 ** shift - 1;
}

/** Latencies are told apart by 1/16 µs. */
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

/** A histogram of durations in microseconds, fractions included. */
export class LatencyHistogram {
  readonly #units = new Histogram();

  record(us: number): void {
    this.#units.record(us * UNITS_PER_US);
  }

  /** The same for whole numbers recorded in the place of microseconds. */
  counts(): CountSummary {
    const { count, meanUs, p50Us, p99Us, maxUs } = this.summary();
    return { count, mean: meanUs, p50: Math.floor(p50Us), p99: Math.floor(p99Us), max: maxUs };
  }

  summary(): LatencySummary {
    const { count, mean, p50, p99, p999, max } = this.#units.summary();
    return {
      count,
      meanUs: mean / UNITS_PER_US,
      p50Us: p50 / UNITS_PER_US,
      p99Us: p99 / UNITS_PER_US,
      p999Us: p999 / UNITS_PER_US,
      maxUs: max / UNITS_PER_US,
    };
  }
}
