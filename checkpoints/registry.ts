import { StoreError } from "../src/errors.ts";
import { checkName, nearestNames } from "../src/names.ts";
import type { Versioned, VersionStore } from "../src/versions/version-store.ts";

/** One version of a ref, as the log keeps it. */
export interface VersionRecord {
  ref: string;
  version: number;
  /** The version this one was made from; it may belong to another ref. */
  parent: { ref: string; version: number } | undefined;
  /** Digest of the manifest's root. */
  manifest: Uint8Array;
  step: number | undefined;
  metrics: Record<string, number>;
  metadata: Record<string, string>;
  timeUs: bigint;
  logicalBytes: number;
  /** Everything this version appended: frames, headers, manifest, and its record in the log. */
  storedBytes: number;
  newChunks: number;
  files: number;
  tensors: number;
  hasResume: boolean;
  /** Set by `repair` when chunks of this version are lost. */
  damaged: boolean;
  tags: string[];
}

export type NewVersion = Omit<
  VersionRecord,
  "version" | "timeUs" | "storedBytes" | "parent" | "damaged" | "tags"
> & {
  packBytes: number;
};

/**
 * How a save names its parent: `newest` follows the ref, a version must still be the newest when the save
 * ends, `absent` asks for a ref that has none.
 */
export type ParentRule = { newest: true } | { absent: true } | { ref: string; version: number };

interface StoredVersion {
  m: Uint8Array;
  p?: [string, number];
  s?: number;
  k?: [string, number][];
  d?: [string, string][];
  l: number;
  b: number;
  n: number;
  f: number;
  t: number;
  r?: boolean;
}

const REFS = "refs";
const VERSIONS = "versions";
const TAGS = "tags";
const DAMAGED = "damaged";

/** Refs, versions and tags: what the version log means to checkpoints. */
export class Registry {
  readonly #store: VersionStore;

  constructor(store: VersionStore) {
    this.#store = store;
  }

  refs(): string[] {
    return [...this.#store.entries(REFS)].map(([ref]) => ref).sort();
  }

  /** Versions of a ref, oldest first. @throws `ERR_NOT_FOUND` for an unknown ref. */
  versions(ref: string): VersionRecord[] {
    this.#requireRef(ref);
    return this.all().filter((record) => record.ref === ref);
  }

  /** Every version of every ref, by ref and number. */
  all(): VersionRecord[] {
    const tags = this.#tags();
    const records = [...this.#store.entries(VERSIONS)].map(([key, entry]) => this.#record(key, entry, tags));
    return records.sort((a, b) => (a.ref === b.ref ? a.version - b.version : a.ref < b.ref ? -1 : 1));
  }

  /** Versions that records of the log after `seq` have added, in the log's order. */
  since(seq: bigint): { seq: bigint; record: VersionRecord }[] {
    const tags = this.#tags();
    const added: { seq: bigint; record: VersionRecord }[] = [];
    for (const [key, entry] of this.#store.entries(VERSIONS)) {
      if (entry.seq > seq) added.push({ seq: entry.seq, record: this.#record(key, entry, tags) });
    }
    return added.sort((a, b) => (a.seq < b.seq ? -1 : 1));
  }

  get(ref: string, version: number): VersionRecord | undefined {
    const key = versionKey(ref, version);
    const entry = this.#store.get(VERSIONS, key);
    return entry === undefined ? undefined : this.#record(key, entry, this.#tags());
  }

  /** @throws `ERR_NOT_FOUND` naming the versions there are. */
  require(ref: string, version: number): VersionRecord {
    this.#requireRef(ref);
    const record = this.get(ref, version);
    if (record !== undefined) return record;
    const known = this.versions(ref).map((each) => each.version);
    const nearest = known.sort((a, b) => Math.abs(a - version) - Math.abs(b - version)).slice(0, 3);
    throw new StoreError("ERR_NOT_FOUND", `${ref} has no version ${version}`, {
      context: { ref, version, nearest },
      hint: nearest.length > 0 ? `The nearest there are: ${nearest.join(", ")}.` : "It has no versions.",
    });
  }

  /** The newest version of a ref, or `undefined` when it has none.
   */
  newest(ref: string): VersionRecord | undefined {
    const head = this.#store.get(REFS, ref)?.value as { v: number } | undefined;
    return head === undefined ? undefined : this.get(ref, head.v);
  }

  tagged(ref: string, tag: string): number | undefined {
    return this.#store.get(TAGS, tagKey(ref, tag))?.value as number | undefined;
  }

  /**
   * Makes a version durable and current, in one step for all processes.
   * @throws `ERR_CONFLICT` when it was made from a version that is no longer the newest.
   */
  async add(version: NewVersion, rule: ParentRule): Promise<VersionRecord> {
    let number = 0;
    await this.#store.commit(() => {
      const newest = this.#store.get(REFS, version.ref)?.value as { v: number } | undefined;
      const parent = parentOf(version.ref, newest?.v, rule);
      number = (newest?.v ?? 0) + 1;
      return [
        { map: VERSIONS, key: versionKey(version.ref, number), value: toStored(version, parent) },
        { map: REFS, key: version.ref, value: { v: number } },
      ];
    });
    return this.get(version.ref, number)!;
  }

  /** @throws `ERR_CONFLICT` when the tag already names another version: tags never move. */
  async tag(ref: string, version: number, tag: string): Promise<void> {
    checkName("tag", tag);
    await this.#store.commit(() => {
      // Another process may have pruned it since the caller looked.
      this.require(ref, version);
      const existing = this.tagged(ref, tag);
      if (existing !== undefined && existing !== version) {
        throw new StoreError("ERR_CONFLICT", `tag ${tag} of ${ref} names version ${existing} already`, {
          context: { ref, tag, version: existing },
          hint: "A tag never moves: choose another name.",
        });
      }
      return [{ map: TAGS, key: tagKey(ref, tag), value: version }];
    });
  }

  /** Takes versions out of the history. The newest and tagged ones stay, whatever is asked for. */
  async remove(ref: string, versions: number[]): Promise<number[]> {
    let removed: number[] = [];
    await this.#store.commit(() => {
      const newest = this.newest(ref)?.version;
      const tagged = new Set(
        this.versions(ref).flatMap((record) => (record.tags.length > 0 ? record.version : [])),
      );
      removed = versions.filter((version) => version !== newest && !tagged.has(version));
      return removed.map((version) => ({ map: VERSIONS, key: versionKey(ref, version), value: null }));
    });
    return removed;
  }

  /** Notes which versions have lost chunks, and which are whole again. */
  async markDamaged(records: VersionRecord[], damaged: boolean): Promise<void> {
    const changed = records.filter((record) => record.damaged !== damaged);
    if (changed.length === 0) return;
    await this.#store.commit(() =>
      changed.map(({ ref, version }) => ({
        map: DAMAGED,
        key: versionKey(ref, version),
        value: damaged || null,
      })),
    );
  }

  #record(key: string, entry: Versioned, tags: Map<string, string[]>): VersionRecord {
    const damaged = this.#store.get(DAMAGED, key) !== undefined;
    return { ...toRecord(key, entry), damaged, tags: tags.get(key) ?? [] };
  }

  #requireRef(ref: string): void {
    if (typeof ref !== "string") checkName("ref", ref);
    if (this.#store.get(REFS, ref) !== undefined) return;
    const near = nearestNames(ref, this.refs());
    throw new StoreError("ERR_NOT_FOUND", `there is no ref ${JSON.stringify(ref)}`, {
      context: { ref, nearest: near },
      hint: near.length > 0 ? `Did you mean ${near.join(", ")}?` : "`varve refs` lists what there is.",
    });
  }

  #tags(): Map<string, string[]> {
    const tags = new Map<string, string[]>();
    for (const [key, { value }] of this.#store.entries(TAGS)) {
      const [ref, tag] = key.split("\0") as [string, string];
      const at = versionKey(ref, value as number);
      tags.set(at, [...(tags.get(at) ?? []), tag]);
    }
    return tags;
  }
}

function parentOf(ref: string, newest: number | undefined, rule: ParentRule): [string, number] | undefined {
  if ("newest" in rule) return newest === undefined ? undefined : [ref, newest];
  if ("absent" in rule) {
    if (newest === undefined) return undefined;
    throw conflict(ref, newest, `${ref} exists: it stands at version ${newest}`);
  }
  const followsOn = rule.ref === ref ? rule.version === newest : newest === undefined;
  if (followsOn) return [rule.ref, rule.version];
  throw conflict(ref, newest, `${ref} stands at version ${newest}, not at ${rule.ref}@${rule.version}`);
}

function conflict(ref: string, newest: number | undefined, message: string): StoreError {
  return new StoreError("ERR_CONFLICT", message, {
    context: { ref, newest },
    hint: "To go on from an older version, save under another ref with that version as its parent. Nothing was changed.",
  });
}

function versionKey(ref: string, version: number): string {
  return `${ref}\0${version}`;
}

function tagKey(ref: string, tag: string): string {
  return `${ref}\0${tag}`;
}

function toStored(version: NewVersion, parent: [string, number] | undefined): StoredVersion {
  const metrics = Object.entries(version.metrics);
  const metadata = Object.entries(version.metadata);
  return {
    m: version.manifest,
    ...(parent === undefined ? {} : { p: parent }),
    ...(version.step === undefined ? {} : { s: version.step }),
    ...(metrics.length === 0 ? {} : { k: metrics }),
    ...(metadata.length === 0 ? {} : { d: metadata }),
    l: version.logicalBytes,
    b: version.packBytes,
    n: version.newChunks,
    f: version.files,
    t: version.tensors,
    ...(version.hasResume ? { r: true } : {}),
  };
}

function toRecord(
  key: string,
  { value, timeUs, recordBytes }: Versioned,
): Omit<VersionRecord, "damaged" | "tags"> {
  const [ref, number] = key.split("\0") as [string, string];
  const stored = value as StoredVersion;
  return {
    ref,
    version: Number(number),
    parent: stored.p === undefined ? undefined : { ref: stored.p[0], version: stored.p[1] },
    manifest: stored.m,
    step: stored.s,
    metrics: Object.fromEntries(stored.k ?? []),
    metadata: Object.fromEntries(stored.d ?? []),
    timeUs,
    logicalBytes: stored.l,
    storedBytes: stored.b + recordBytes,
    newChunks: stored.n,
    files: stored.f,
    tensors: stored.t,
    hasResume: stored.r ?? false,
  };
}
