import { StoreError } from "../errors.ts";
import { SOCKET_PAGE_ENTRIES } from "../limits.ts";
import type { AuditQuery, AuditReport } from "./audit.ts";
import type { AuditEntry, LogQuery } from "./audit-log.ts";
import type { BackupOptions, BackupResult } from "./backup.ts";
import type { CommitOptions } from "./commit-options.ts";
import type { Receipt } from "./committer.ts";
import type { KeyRange } from "./key-range.ts";
import type { CriticalMap } from "./map.ts";
import type { MigrationPlan } from "./migration.ts";
import type { CriticalStats } from "./options.ts";
import type { CriticalSequence } from "./sequence-handle.ts";
import type { MapHistoryChange, Moment } from "./trail.ts";
import type { PutOptions, Transaction } from "./transaction.ts";
import type { VersionedEntry } from "./versioned-entry.ts";

/** Part of a listing; `next` is where the following page begins. */
export interface Page<T, N> {
  items: T[];
  next: N | undefined;
}

/** A sequence as the command line shows it. */
export interface SequenceState {
  name: string;
  next: bigint;
  reservedTo: bigint;
  fenced: boolean;
}

/**
 * Everything the command line can ask of the critical partition: of an engine in this process, or over its socket
 * of one in another. Arguments and results are plain data.
 */
export interface CriticalVerbs {
  put(args: { map: string; key: string; value: unknown; options?: PutOptions } & Changing): { lsn: bigint };
  get(args: { map: string; key: string }): VersionedEntry<unknown> | undefined;
  list(args: { map: string; range?: KeyRange }): Page<VersionedEntry<unknown>, string>;
  remove(args: { map: string; key: string; ifVersion?: bigint } & Changing): {
    lsn: bigint;
    removed: boolean;
  };
  history(args: { map: string; key: string; since?: bigint }): Page<MapHistoryChange<unknown>, bigint>;
  at(args: { moment: Moment; map: string; range?: KeyRange }): Page<[string, unknown], string>;
  getAt(args: { moment: Moment; map: string; key: string }): { lsn: bigint; value: unknown };
  sequences(args: object): SequenceState[];
  next(args: { name: string } & Changing): bigint;
  adopt(args: { name: string; atLeast: bigint }): bigint;
  adoptMoved(args: object): void;
  log(args: LogQuery): Page<AuditEntry, bigint>;
  verifyAudit(args: AuditQuery): AuditReport;
  planMigration(args: object): MigrationPlan[];
  /** Rewrites older entries as the schemas say with which the maps are open. */
  migrate(args: object): Promise<{ upgraded: number }>;
  /** The directory is the copy's `critical/`. */
  backup(args: { directory: string; kind?: BackupOptions["kind"] }): Promise<BackupResult>;
  stats(args: object): CriticalStats;
}

interface Changing {
  commitOptions?: CommitOptions;
}

export type Verb = keyof CriticalVerbs;
export type VerbArgs<V extends Verb> = Parameters<CriticalVerbs[V]>[0];
export type VerbResult<V extends Verb> = Awaited<ReturnType<CriticalVerbs[V]>>;

/** What the verbs ask of the partition they are of. */
interface Partition {
  map(name: string): CriticalMap<unknown>;
  peek(name: string): CriticalMap<unknown>;
  sequence(name: string): CriticalSequence;
  commit<T>(fn: (tx: Transaction) => T, options?: CommitOptions): Receipt<T>;
  adoptSequence(name: string, atLeast: bigint): bigint;
  adoptMoved(): void;
  log(query: LogQuery): Iterable<AuditEntry>;
  verifyAudit(query?: AuditQuery): AuditReport;
  planMigration(): MigrationPlan[];
  migrate(): Promise<number>;
  backup(directory: string, options: BackupOptions): Promise<BackupResult>;
  stats(): CriticalStats;
}

/** The verbs on an open partition. */
export function verbsOf(critical: Partition): CriticalVerbs {
  return {
    put({ map, key, value, options, commitOptions }) {
      const target = critical.map(map);
      const put = (tx: Transaction) => tx.put(target, key, value, options);
      const { lsn } = commitOnce(critical, ["put", map, key], put, commitOptions);
      return { lsn };
    },
    get: ({ map, key }) => critical.peek(map).entry(key),
    list: ({ map, range }) => pageOf(critical.peek(map).versionedEntries(paged(range)), ({ key }) => key),
    remove({ map, key, ifVersion, commitOptions }) {
      const target = critical.peek(map);
      const options = ifVersion === undefined ? {} : { ifVersion };
      const remove = (tx: Transaction) => tx.delete(target, key, options);
      const { lsn, value } = commitOnce(critical, ["remove", map, key], remove, commitOptions);
      return { lsn, removed: value };
    },
    history({ map, key, since = 0n }) {
      const changes = critical.peek(map).history(key);
      return pageOf(
        skipped(changes, ({ lsn }) => lsn < since),
        ({ lsn }) => lsn,
      );
    },
    at: ({ moment, map, range }) =>
      pageOf(critical.peek(map).at(moment).entries(paged(range)), ([key]) => key),
    getAt({ moment, map, key }) {
      const past = critical.peek(map).at(moment);
      return { lsn: past.lsn, value: past.get(key) };
    },
    sequences: () =>
      critical.stats().sequences.map(({ name, next, fenced }) => {
        return { name, next, reservedTo: critical.sequence(name).reservedTo, fenced };
      }),
    next({ name, commitOptions }) {
      const sequence = critical.sequence(name);
      return commitOnce(critical, ["next", name], (tx) => tx.next(sequence), commitOptions).value;
    },
    adopt: ({ name, atLeast }) => critical.adoptSequence(name, atLeast),
    adoptMoved: () => critical.adoptMoved(),
    log: (query) => pageOf(critical.log(query), ({ lsn }) => lsn),
    verifyAudit: (query) => critical.verifyAudit(query),
    planMigration: () => critical.planMigration(),
    migrate: async () => ({ upgraded: await critical.migrate() }),
    backup: ({ directory, kind }) => critical.backup(directory, kind === undefined ? {} : { kind }),
    stats: () => critical.stats(),
  };
}

export function isVerb(verbs: CriticalVerbs, name: unknown): name is Verb {
  return typeof name === "string" && Object.hasOwn(verbs, name);
}

export function unknownVerb(name: unknown): StoreError {
  return new StoreError("ERR_INVALID_ARGUMENT", `the engine does not know the verb ${String(name)}`, {
    hint: "The engine and the command line are of different versions: use the same.",
  });
}

/**
 * A commit whose receipt says what was done, if it has an idempotency key: one that was used for something else is no
 * retry, and its receipt would be taken for this change's.
 *
 * @throws ERR_CONFLICT
 */
function commitOnce<T>(
  critical: Partition,
  did: string[],
  fn: (tx: Transaction) => T,
  options: CommitOptions = {},
): Receipt<T> {
  const { idempotencyKey } = options;
  if (idempotencyKey === undefined) return critical.commit(fn, options);
  const what = JSON.stringify(did);
  const receipt = critical.commit((tx) => ({ did: what, value: fn(tx) }), options);
  const first = receipt.value as { did?: unknown; value: T } | null | undefined;
  if (first?.did === what) return { ...receipt, value: first.value };
  const { lsn } = receipt;
  throw new StoreError(
    "ERR_CONFLICT",
    `the idempotency key ${idempotencyKey} was used for another change, LSN ${lsn}`,
    {
      context: { idempotencyKey, lsn },
      hint: "Nothing was changed. Give each change a key of its own; varve audit log shows what the first one did.",
    },
  );
}

/** One entry more than a page holds, so that a full page knows where the next begins. */
function paged(range: KeyRange = {}): KeyRange {
  return { ...range, limit: Math.min(range.limit ?? Number.POSITIVE_INFINITY, SOCKET_PAGE_ENTRIES + 1) };
}

function pageOf<T, N>(all: Iterable<T>, place: (item: T) => N): Page<T, N> {
  const items: T[] = [];
  for (const item of all) {
    if (items.length === SOCKET_PAGE_ENTRIES) return { items, next: place(item) };
    items.push(item);
  }
  return { items, next: undefined };
}

function* skipped<T>(all: Iterable<T>, unwanted: (item: T) => boolean): Generator<T> {
  for (const item of all) if (!unwanted(item)) yield item;
}
