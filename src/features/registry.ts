import { StoreError } from "../errors.ts";
import { nearestNames } from "../names.ts";
import type { Versioned, VersionStore } from "../versions/version-store.ts";

/** One version of a feature table, as the version log keeps it. */
export interface FeatureVersion {
  name: string;
  version: number;
  /** Digest of the manifest. */
  manifest: Uint8Array;
  /** Where its chunks lay when it was published (placement-format.ts); absent in records of before. */
  placement: Uint8Array | undefined;
  /** When it was published. */
  timeUs: bigint;
  /** The instant its values were known: what a point-in-time read goes by. */
  asOfUs: bigint;
  schemaVersion: number;
  /** Hexadecimal; equal for tables of equal columns and schema version. */
  fingerprint: string;
  sources: string[];
  rows: number;
  columns: number;
  /** Bytes of its arrays in memory. */
  rawBytes: number;
  /** Everything this version appended to the store. */
  storedBytes: number;
  /** Set by `repair` when chunks of this version are lost. */
  damaged: boolean;
}

export type NewFeatureVersion = Omit<
  FeatureVersion,
  "version" | "timeUs" | "storedBytes" | "damaged" | "asOfUs"
> & { packBytes: number; asOfUs: bigint | undefined };

interface Stored {
  m: Uint8Array;
  p?: Uint8Array;
  a?: number;
  s: number;
  f: string;
  o?: string[];
  r: number;
  c: number;
  l: number;
  b: number;
}

/** Maps of the version log beside the checkpoints': the same log, other names. */
const HEADS = "featureNames";
const VERSIONS = "featureVersions";
const DAMAGED = "featureDamaged";

/** Names and versions of feature tables: what the version log means to them. */
export class FeatureRegistry {
  readonly #store: VersionStore;

  constructor(store: VersionStore) {
    this.#store = store;
  }

  names(): string[] {
    return [...this.#store.entries(HEADS)].map(([name]) => name).sort();
  }

  /** Every version of every table, by name and number. */
  all(): FeatureVersion[] {
    const records = [...this.#store.entries(VERSIONS)].map(([key, entry]) => this.#record(key, entry));
    return records.sort((a, b) => (a.name === b.name ? a.version - b.version : a.name < b.name ? -1 : 1));
  }

  /** Versions of one table, oldest first. @throws `ERR_NOT_FOUND` */
  versions(name: string): FeatureVersion[] {
    this.#requireName(name);
    return this.all().filter((record) => record.name === name);
  }

  newest(name: string): FeatureVersion | undefined {
    const head = this.#store.get(HEADS, name)?.value as { v: number } | undefined;
    return head === undefined ? undefined : this.#get(name, head.v);
  }

  /** @throws `ERR_NOT_FOUND` naming the versions there are */
  require(name: string, version: number | undefined): FeatureVersion {
    this.#requireName(name);
    const record = version === undefined ? this.newest(name) : this.#get(name, version);
    if (record !== undefined) return record;
    const known = this.versions(name).map((each) => each.version);
    throw new StoreError("ERR_NOT_FOUND", `features ${name} have no version ${version}`, {
      context: { name, version, versions: known.slice(-3) },
      hint: `The newest there are: ${known.slice(-3).join(", ")}.`,
    });
  }

  /** The version whose values were the newest known at an instant. @throws `ERR_NOT_FOUND` when there was none yet */
  asOf(name: string, asOfUs: bigint): FeatureVersion {
    const known = this.versions(name).filter((record) => record.asOfUs <= asOfUs);
    const found = known.reduce<FeatureVersion | undefined>(
      (best, each) => (best === undefined || each.asOfUs >= best.asOfUs ? each : best),
      undefined,
    );
    if (found !== undefined) return found;
    throw new StoreError("ERR_NOT_FOUND", `features ${name} had no version as of ${asOfUs} µs`, {
      context: { name, asOfUs },
      hint: "`varve features ls` says as of when each version is.",
    });
  }

  /** Makes a version durable and current, in one step for all processes. */
  async add(version: NewFeatureVersion): Promise<FeatureVersion> {
    let number = 0;
    await this.#store.commit(() => {
      const newest = this.#store.get(HEADS, version.name)?.value as { v: number } | undefined;
      number = (newest?.v ?? 0) + 1;
      return [
        { map: VERSIONS, key: `${version.name}\0${number}`, value: toStored(version) },
        { map: HEADS, key: version.name, value: { v: number } },
      ];
    });
    return this.#get(version.name, number)!;
  }

  /** Notes which versions have lost chunks, and which are whole again. */
  async markDamaged(records: FeatureVersion[], damaged: boolean): Promise<void> {
    const changed = records.filter((record) => record.damaged !== damaged);
    if (changed.length === 0) return;
    await this.#store.commit(() =>
      changed.map(({ name, version }) => ({
        map: DAMAGED,
        key: `${name}\0${version}`,
        value: damaged || null,
      })),
    );
  }

  #get(name: string, version: number): FeatureVersion | undefined {
    const key = `${name}\0${version}`;
    const entry = this.#store.get(VERSIONS, key);
    return entry === undefined ? undefined : this.#record(key, entry);
  }

  #record(key: string, { value, timeUs, recordBytes }: Versioned): FeatureVersion {
    const [name, version] = key.split("\0") as [string, string];
    const stored = value as Stored;
    return {
      name,
      version: Number(version),
      manifest: stored.m,
      placement: stored.p,
      timeUs,
      asOfUs: stored.a === undefined ? timeUs : BigInt(stored.a),
      schemaVersion: stored.s,
      fingerprint: stored.f,
      sources: stored.o ?? [],
      rows: stored.r,
      columns: stored.c,
      rawBytes: stored.l,
      storedBytes: stored.b + recordBytes,
      damaged: this.#store.get(DAMAGED, key) !== undefined,
    };
  }

  #requireName(name: string): void {
    if (this.#store.get(HEADS, name) !== undefined) return;
    const near = nearestNames(name, this.names());
    throw new StoreError("ERR_NOT_FOUND", `there are no features ${JSON.stringify(name)}`, {
      context: { name, nearest: near },
      hint: near.length > 0 ? `Did you mean ${near.join(", ")}?` : "`varve features ls` lists what there is.",
    });
  }
}

function toStored(version: NewFeatureVersion): Stored {
  return {
    m: version.manifest,
    ...(version.placement === undefined ? {} : { p: version.placement }),
    ...(version.asOfUs === undefined ? {} : { a: Number(version.asOfUs) }),
    s: version.schemaVersion,
    f: version.fingerprint,
    ...(version.sources.length === 0 ? {} : { o: version.sources }),
    r: version.rows,
    c: version.columns,
    l: version.rawBytes,
    b: version.packBytes,
  };
}
