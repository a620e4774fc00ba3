import { IDEMPOTENCY_KEYS_MAX } from "../limits.ts";

/** What a retry of a commit gets back. */
export interface RememberedCommit {
  lsn: number;
  timeUs: number;
  /** Encoded return value of the callback, one byte per character. */
  valueBytes: string;
}

export interface IdempotencyOptions {
  /** How long a key is remembered at least, unless `keys` runs out first. Default 24 hours. */
  keepMs?: number;
  /** Keys remembered at once; past it the oldest is forgotten early. Default and maximum 100,000. */
  keys?: number;
}

const KEEP_MS = 24 * 3600 * 1000;

/**
 * Commits that carried an idempotency key, oldest first. Commit times strictly increase, so the order of a
 * JavaScript map is the order of age, and forgetting takes from its front.
 */
export class IdempotencyKeys {
  readonly #commits = new Map<string, RememberedCommit>();
  readonly #keepUs: number;
  readonly #keysMax: number;
  #forgottenEarly = 0;

  constructor(options: IdempotencyOptions = {}) {
    this.#keepUs = (options.keepMs ?? KEEP_MS) * 1000;
    this.#keysMax = Math.min(options.keys ?? IDEMPOTENCY_KEYS_MAX, IDEMPOTENCY_KEYS_MAX);
  }

  find(key: string, nowUs: number): RememberedCommit | undefined {
    const commit = this.#commits.get(key);
    return commit !== undefined && commit.timeUs + this.#keepUs > nowUs ? commit : undefined;
  }

  remember(key: string, commit: RememberedCommit): void {
    // A key that comes again after its time moves to the young end.
    this.#commits.delete(key);
    this.#commits.set(key, commit);
    for (const [oldest, { timeUs }] of this.#commits) {
      const expired = timeUs + this.#keepUs <= commit.timeUs;
      if (!expired && this.#commits.size <= this.#keysMax) break;
      if (!expired) this.#forgottenEarly++;
      this.#commits.delete(oldest);
    }
  }

  /** Oldest first. */
  entries(): IterableIterator<[string, RememberedCommit]> {
    return this.#commits.entries();
  }

  clear(): void {
    this.#commits.clear();
  }

  stats(): { keys: number; forgottenEarly: number } {
    return { keys: this.#commits.size, forgottenEarly: this.#forgottenEarly };
  }
}
