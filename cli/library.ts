/**
 * What the command line needs of the library, so that `varve --help` loads nothing and tests can stand in a library
 * of their own.
 */
import type {
  Checkpoints as AllCheckpoints,
  CheckOptions,
  CheckResult,
  Features,
  LoadOptions,
  OpenStoreOptions,
  Progress,
  RepairResult,
  Series as WholeSeries,
  Store as WholeStore,
} from "../index.ts";

export type {
  AuditChange,
  AuditEntry,
  AuditReport,
  CheckResult,
  CriticalStats,
  FeatureInfo,
  GcResult,
  HistogramSummary,
  InferredRecipe,
  KeyRange,
  LogInspection,
  LogQuery,
  MapHistoryChange,
  MapOptions,
  MigrationPlan,
  Moment,
  Problem,
  Progress,
  PruneOptions,
  PruneResult,
  Recipes,
  RecompressResult,
  RefInfo,
  RepairResult,
  RestoredFiles as RestoreResult,
  RestoreFilesOptions as RestoreOptions,
  SaveOptions,
  SequenceInfo,
  SeriesExportOptions,
  SeriesImportOptions,
  SeriesRow,
  SeriesStats,
  StoreStats,
  TensorDiff,
  VersionDetails,
  VersionEncodings,
  VersionedEntry,
  VersionInfo,
} from "../index.ts";

/** What every long call takes. */
export interface Running {
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

/** What the command line needs of critical state: a module of its own, so that its verbs load nothing else. */
export type CriticalLibrary = Pick<
  typeof import("../open-critical.ts"),
  "reachCritical" | "inspectWal" | "renderBlock"
>;
export type { ReachedCritical, ReachOptions } from "../open-critical.ts";

export type OpenOptions = Pick<
  OpenStoreOptions,
  "create" | "readOnly" | "onError" | "mirror" | "witness" | "ioBudget"
>;

export interface Library
  extends Pick<
    typeof import("../index.ts"),
    "compressionOfName" | "formatOfName" | "inferFileRecipes" | "StoreError"
  > {
  openStore(directory: string, options: OpenOptions): Promise<Store>;
  checkStore(directory: string, options: CheckOptions): Promise<CheckResult>;
  repairStore(directory: string, options: Running & { mirror?: string }): Promise<RepairResult>;
}

export interface Store
  extends Pick<
    WholeStore,
    | "gc"
    | "stats"
    | "backup"
    | "close"
    | "importSeries"
    | "exportSeries"
    | "publishFeatures"
    | "exportFeatures"
    | "state"
  > {
  readonly checkpoints: Checkpoints;
  readonly series: SeriesStore;
  readonly features: Pick<Features, "list" | "versions" | "load" | "find">;
}

/** Which version of a feature table. */
export type FeatureSelection = Pick<LoadOptions, "version" | "asOf">;

export interface SeriesStore {
  list(): string[];
  open(name: string, options: { readOnly: true }): Series;
}

export type Series = Pick<WholeSeries, "name" | "columns" | "key" | "asOf" | "positions" | "stats" | "tail">;

export type Checkpoints = Pick<
  AllCheckpoints,
  | "saveFiles"
  | "restoreFiles"
  | "refs"
  | "log"
  | "show"
  | "encodings"
  | "recompress"
  | "readResume"
  | "diff"
  | "tag"
  | "prune"
  | "follow"
  | "pin"
  | "unpin"
>;
