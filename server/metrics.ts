/** Numbers in Prometheus' text format. Source: prometheus.io, "Exposition formats", version 0.0.4. */

type Labels = Record<string, string>;

const LATENCY_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Label sets of one metric: routes and statuses are few; nothing a client chooses becomes a label. */
const SERIES_MAX = 256;

export class Counter {
  readonly #name: string;
  readonly #help: string;
  readonly #values = new Map<string, number>();

  constructor(name: string, help: string) {
    this.#name = name;
    this.#help = help;
  }

  add(value: number, labels: Labels = {}): void {
    const key = labelText(labels);
    if (!this.#values.has(key) && this.#values.size >= SERIES_MAX) return;
    this.#values.set(key, (this.#values.get(key) ?? 0) + value);
  }

  render(): string {
    const lines = [...this.#values].map(([key, value]) => `${this.#name}${key} ${value}\n`);
    return `# HELP ${this.#name} ${this.#help}\n# TYPE ${this.#name} counter\n${lines.join("")}`;
  }
}

export class Histogram {
  readonly #name: string;
  readonly #help: string;
  readonly #counts = new Array<number>(LATENCY_SECONDS.length + 1).fill(0);
  #sum = 0;

  constructor(name: string, help: string) {
    this.#name = name;
    this.#help = help;
  }

  observe(seconds: number): void {
    const bucket = LATENCY_SECONDS.findIndex((limit) => seconds <= limit);
    this.#counts[bucket < 0 ? LATENCY_SECONDS.length : bucket]!++;
    this.#sum += seconds;
  }

  render(): string {
    let cumulative = 0;
    const lines = this.#counts.map((count, i) => {
      cumulative += count;
      return `${this.#name}_bucket{le="${LATENCY_SECONDS[i] ?? "+Inf"}"} ${cumulative}\n`;
    });
    const totals = `${this.#name}_sum ${this.#sum}\n${this.#name}_count ${cumulative}\n`;
    return `# HELP ${this.#name} ${this.#help}\n# TYPE ${this.#name} histogram\n${lines.join("")}${totals}`;
  }
}

/** What a server counts, and what it looks up when it is asked. */
export class Metrics {
  readonly requests = new Counter("varve_http_requests_total", "Requests answered, by method and status.");
  readonly requestSeconds = new Histogram(
    "varve_http_request_seconds",
    "From a request's headers to its answer's.",
  );
  readonly chunkBytes = new Counter("varve_chunk_bytes_total", "Raw bytes of chunks moved, by direction.");
  readonly putSeconds = new Histogram(
    "varve_chunk_put_seconds",
    "From a batch received to the batch durable.",
  );
  readonly saves = new Counter("varve_saves_total", "Versions saved through this server.");
  readonly savedBytes = new Counter(
    "varve_saved_bytes_total",
    "Bytes of saved versions: logical, and stored for them.",
  );
  readonly refSeconds = new Histogram(
    "varve_ref_move_seconds",
    "From a ref's move asked for to the move durable.",
  );
  readonly #gauges = new Map<string, { help: string; read: () => number }>();

  /** A number that is read when it is asked for. */
  gauge(name: string, help: string, read: () => number): void {
    this.#gauges.set(name, { help, read });
  }

  render(): string {
    const { requests, requestSeconds, chunkBytes, putSeconds, saves, savedBytes, refSeconds } = this;
    const counted = [requests, requestSeconds, chunkBytes, putSeconds, saves, savedBytes, refSeconds];
    const gauges = [...this.#gauges].map(
      ([name, { help, read }]) => `# HELP ${name} ${help}\n# TYPE ${name} gauge\n${name} ${read()}\n`,
    );
    return counted.map((each) => each.render()).join("") + gauges.join("");
  }
}

function labelText(labels: Labels): string {
  const entries = Object.entries(labels);
  return entries.length === 0 ? "" : `{${entries.map(([key, value]) => `${key}="${value}"`).join(",")}}`;
}
