/**
 * What the command line needs of the library: the shape of `openStore` as `index.ts` exports it. Types alone, so
 * that `varve --help` loads nothing and tests can stand in a library of their own.
 */
export interface Library {
  openStore(directory: string, options: OpenOptions): Promise<Store>;
}

export interface OpenOptions {
  create?: boolean;
  readOnly?: boolean;
  signal?: AbortSignal;
  onError?: (error: unknown) => void;
}

export interface Store {
  readonly checkpoints: Checkpoints;
  gc(options: GcOptions): Promise<GcResult>;
  check(options: CheckOptions): Promise<CheckResult>;
  repair(options: Running): Promise<RepairResult>;
  stats(): Promise<StoreStats>;
  close(): Promise<void>;
}

export interface Progress {
  doneBytes: number;
  totalBytes: number;
}

/** What every long call takes. */
export interface Running {
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

export interface Checkpoints {
  saveFiles(ref: string, paths: string[], options: SaveOptions): Promise<SaveResult>;
  restoreFiles(selector: string, options: RestoreOptions): Promise<RestoreResult>;
  refs(): RefInfo[];
  log(ref: string): VersionInfo[];
  show(selector: string): Promise<VersionDetails>;
  readResume(selector: string): Promise<Uint8Array | undefined>;
  diff(a: string, b: string, options: Running): Promise<TensorDiff[]>;
  tag(selector: string, name: string): Promise<TagResult>;
  prune(ref: string, options: PruneOptions): Promise<PruneResult>;
}

export type Profile = "fast" | "compact";

export interface SaveOptions extends Running {
  step?: number;
  metrics?: Record<string, number>;
  metadata?: Record<string, string>;
  parent?: number;
  resume?: Uint8Array;
  profile?: Profile;
}

export interface SaveResult {
  ref: string;
  version: number;
  manifest: string;
  files: number;
  tensors: number;
  logicalBytes: number;
  storedBytes: number;
  indexBytes: number;
  newChunks: number;
  durationMs: number;
}

export interface RestoreOptions extends Running {
  out: string;
  file?: string;
  tensors?: string[];
  force?: boolean;
}

export interface RestoreResult {
  ref: string;
  version: number;
  files: { name: string; path: string; sizeBytes: number }[];
  bytes: number;
  durationMs: number;
}

export interface RefInfo {
  ref: string;
  /** The current version. */
  version: number;
  /** How many there are. */
  versions: number;
  step?: number;
  timeUs: bigint;
  logicalBytes: number;
  storedBytes: number;
}

export interface VersionInfo {
  ref: string;
  version: number;
  parent?: number;
  step?: number;
  metrics: Record<string, number>;
  metadata: Record<string, string>;
  tags: string[];
  timeUs: bigint;
  manifest: string;
  files: number;
  tensors: number;
  logicalBytes: number;
  storedBytes: number;
  newChunks: number;
  hasResume: boolean;
}

export interface VersionDetails extends VersionInfo {
  fileList: {
    name: string;
    format: string;
    sizeBytes: number;
    tensors: { name: string; dtype: string; shape: number[]; sizeBytes: number }[];
  }[];
}

export interface TensorDiff {
  name: string;
  status: "same" | "changed" | "added" | "removed" | "reshaped";
  dtype: string;
  shape: number[];
  elements: number;
  /** Elements that differ. */
  changed: number;
  maxAbs?: number;
  meanAbs?: number;
  normA?: number;
  normB?: number;
}

export interface TagResult {
  ref: string;
  version: number;
  tag: string;
}

export interface PruneOptions {
  keepLast?: number;
  keepEvery?: number;
  keepBest?: { metric: string; mode: "min" | "max" };
  keepTags?: boolean;
  dryRun?: boolean;
}

export interface PruneResult {
  ref: string;
  kept: number[];
  pruned: number[];
}

export interface GcOptions extends Running {
  dryRun?: boolean;
}

export interface GcResult {
  reclaimedBytes: number;
  packsRemoved: number;
  packsRewritten: number;
  chunksKept: number;
  chunksRemoved: number;
}

export interface CheckOptions extends Running {
  readData?: boolean;
}

export interface CheckResult {
  ok: boolean;
  problems: Problem[];
  checkedBytes: number;
}

export interface Problem {
  what: string;
  where: string;
  /** `ref@12`, … */
  versions: string[];
  hint: string;
}

export interface RepairResult {
  actions: string[];
  damagedVersions: string[];
}

export interface StoreStats {
  refs: number;
  versions: number;
  logicalBytes: number;
  storedBytes: number;
  diskBytes: number;
}
