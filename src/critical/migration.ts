import type { CommitOptions } from "./commit-options.ts";
import type { State } from "./state.ts";
import type { Table } from "./table.ts";
import type { Transaction } from "./transaction.ts";

/** What upgrading a map would change. */
export interface MigrationPlan {
  map: string;
  /** Version the map is open with; the data's own when it is not open with a schema. */
  version: number;
  entries: number;
  /** Entries by the schema version they were written with. */
  byVersion: Record<number, number>;
  /** Entries an upgrade would rewrite. */
  older: number;
  /** Keys whose upgrade fails, with the reason; at most ten. */
  failing: { key: string; problem: string }[];
}

const FAILING_MAX = 10;

/** Tries the upgrade of every older entry without keeping any. */
export function planMigration(state: State): MigrationPlan[] {
  return state.tables().map((table) => {
    const version = table.schema?.version ?? table.storedVersion;
    const plan: MigrationPlan = {
      map: table.name,
      version,
      entries: 0,
      byVersion: {},
      older: 0,
      failing: [],
    };
    const cursor = table.order.cursor(undefined, undefined, false);
    for (let slot = cursor.next(); slot !== undefined; slot = cursor.next()) {
      const { schemaVersion } = slot.entry;
      plan.entries++;
      plan.byVersion[schemaVersion] = (plan.byVersion[schemaVersion] ?? 0) + 1;
      if (schemaVersion >= version) continue;
      plan.older++;
      try {
        table.decode(slot.entry);
      } catch (error) {
        const problem = error instanceof Error ? String(error.cause ?? error.message) : String(error);
        if (plan.failing.length < FAILING_MAX) plan.failing.push({ key: slot.key, problem });
      }
    }
    return plan;
  });
}

/** Entries rewritten in one commit: short enough for the event loop. */
const UPGRADE_BATCH = 64;

/** What rewriting asks of the committer. */
interface Commits {
  commitAsync(fn: (tx: Transaction) => void, options: CommitOptions): Promise<unknown>;
}

/** Rewrites entries that are older than the schema their map is open with, in small commits. */
export class Upgrades {
  readonly #committer: Commits;
  readonly #isClosed: () => boolean;
  readonly #warn: (message: string, error: unknown) => void;
  /** What the background is doing. */
  readonly #begun = new Map<Table, Promise<number>>();

  constructor(committer: Commits, isClosed: () => boolean, warn: (message: string, error: unknown) => void) {
    this.#committer = committer;
    this.#isClosed = isClosed;
    this.#warn = warn;
  }

  /** Values are upgraded when they are read; meanwhile all of them are written anew, so that this ends some day. */
  begin(table: Table): void {
    if (!this.#begun.has(table)) this.#begun.set(table, this.#inBackground(table));
  }

  async #inBackground(table: Table): Promise<number> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    try {
      return await this.#rewrite(table, undefined);
    } catch (error) {
      if (!this.#isClosed()) this.#warn(`map ${table.name} could not be upgraded in the background`, error);
      return 0;
    } finally {
      this.#begun.delete(table);
    }
  }

  /** Returns how many entries of these maps were rewritten, by the background if it was about it. */
  async run(tables: readonly Table[], signal: AbortSignal | undefined): Promise<number> {
    let upgraded = 0;
    for (const table of tables) {
      // Both at once would commit every batch twice, the second time in an empty record.
      upgraded += (await this.#begun.get(table)) ?? 0;
      upgraded += await this.#rewrite(table, signal);
    }
    return upgraded;
  }

  async #rewrite(table: Table, signal: AbortSignal | undefined): Promise<number> {
    let upgraded = 0;
    let after: string | undefined;
    for (;;) {
      const keys = olderKeys(table, after, UPGRADE_BATCH);
      if (keys.length === 0 || this.#isClosed() || signal?.aborted === true) return upgraded;
      await this.#committer.commitAsync(
        (tx) => {
          for (const key of keys) tx.upgrade(table, key);
        },
        { actor: "varve", reason: `upgrade to version ${table.schema?.version}` },
      );
      upgraded += keys.length;
      after = keys.at(-1);
    }
  }
}

/** Keys whose entries are older than the map's schema, from `after` on, in key order. */
function olderKeys(table: Table, after: string | undefined, limit: number): string[] {
  const version = table.schema?.version ?? 0;
  const keys: string[] = [];
  const cursor = table.order.cursor(after, undefined, false);
  for (let slot = cursor.next(); slot !== undefined && keys.length < limit; slot = cursor.next()) {
    if (slot.key !== after && slot.entry.schemaVersion < version) keys.push(slot.key);
  }
  return keys;
}
