export type { BackupOptions, BackupResult } from "./backup/backup.ts";
export type { TensorSpec } from "./checkpoints/allocate.ts";
export type { TensorChanges } from "./checkpoints/changes.ts";
export type { CheckOptions, CheckResult, Problem } from "./checkpoints/check.ts";
export type { Checkpoint, TensorInfo } from "./checkpoints/checkpoint.ts";
export type { Checkpoints } from "./checkpoints/checkpoints.ts";
export type { DiffOptions, TensorDiff } from "./checkpoints/diff.ts";
export type { EncodingUse, VersionEncodings } from "./checkpoints/encodings.ts";
export type { FollowOptions } from "./checkpoints/follow.ts";
export type { OptimizerSettings } from "./checkpoints/optimizer/settings.ts";
export type { PinnedModel } from "./checkpoints/pins.ts";
export type { RepairResult } from "./checkpoints/repair.ts";
export type { RestoredFiles, RestoreFilesOptions } from "./checkpoints/restore-files.ts";
export type { PruneOptions, PruneResult } from "./checkpoints/retention.ts";
export type { Progress, SaveOptions, SaveResult } from "./checkpoints/save.ts";
export type { ModelSignature, ModelValue } from "./checkpoints/serving/messages.ts";
export type { ServedModel, ServeModelOptions } from "./checkpoints/serving/served-model.ts";
export type { SkeletonOptions } from "./checkpoints/serving/skeleton.ts";
export type { NamedTensors } from "./checkpoints/tensor-source.ts";
export type { SaveTicket } from "./checkpoints/ticket.ts";
export type { Touched } from "./checkpoints/touched-rows.ts";
export type { LoopOptions, TrainingStep } from "./checkpoints/training-loop.ts";
export type { RefInfo, VersionDetails, VersionInfo } from "./checkpoints/version-info.ts";
export type { AnyTable } from "./features/any-table.ts";
export { type AsOfJoinOptions, asOfJoin } from "./features/as-of-join.ts";
export type {
  FeatureInfo,
  Features,
  FeaturesStats,
  LoadOptions,
  PublishOptions,
  PublishResult,
} from "./features/features.ts";
export { type InferredRecipes, inferRecipes } from "./features/infer-recipes.ts";
export type { FeatureJoin, TableJoin, TrainingSetOptions } from "./features/training-set.ts";
export { fromFloat32, toFloat32 } from "./formats/floats.ts";
export {
  compressionOfName,
  formatOfName,
  type OpenedTables,
  openTables,
  type ReadTablesOptions,
  readTable,
  type TableFormat,
  type TableSource,
  type WriteTablesOptions,
  writeTables,
} from "./formats/tables/files.ts";
export type {
  Column as TableColumn,
  ColumnType as TableColumnType,
  Table,
  TimeUnit,
} from "./formats/tables/table.ts";
export type { DType, Tensor, TypedArray } from "./formats/tensor.ts";
export type { CriticalStoreOptions } from "./open-critical.ts";
export {
  checkStoreAt as checkStore,
  type OpenStoreOptions,
  openStore,
  repairStoreAt as repairStore,
  type Store,
  type StoreStats,
} from "./open-store.ts";
export type { CaptureStats } from "./src/capture/captures.ts";
export type { GcOptions, GcResult } from "./src/chunks/gc.ts";
export type { RecompressOptions, RecompressResult } from "./src/chunks/recompress.ts";
export type { AuditReport } from "./src/critical/audit.ts";
export type { AuditChange, AuditEntry, LogQuery } from "./src/critical/audit-log.ts";
export type {
  BackupOptions as CriticalBackupOptions,
  BackupResult as CriticalBackupResult,
} from "./src/critical/backup.ts";
export type { Annotations } from "./src/critical/change.ts";
export type {
  CommitOptions,
  Critical,
  CriticalStats,
  Receipt,
  RecoveryStats,
} from "./src/critical/critical.ts";
export type { HistoryOptions, HistoryStats } from "./src/critical/history.ts";
export type { IdempotencyOptions } from "./src/critical/idempotency.ts";
export type { KeyRange } from "./src/critical/key-range.ts";
export type { CriticalMap } from "./src/critical/map.ts";
export type { MigrationPlan } from "./src/critical/migration.ts";
export type { MapOptions } from "./src/critical/schema.ts";
export type { Fence, FenceKind, SequenceOptions } from "./src/critical/sequence.ts";
export type { CriticalSequence } from "./src/critical/sequence-handle.ts";
export type { SnapshotOptions, SnapshotStats } from "./src/critical/snapshots.ts";
export type { MapHistoryChange, Moment, PastMap } from "./src/critical/trail.ts";
export type { DeleteOptions, PutOptions, Transaction } from "./src/critical/transaction.ts";
export type { SequenceState as SequenceInfo } from "./src/critical/verbs.ts";
export type { VersionedEntry } from "./src/critical/versioned-entry.ts";
export { type ErrorCode, InvariantError, isStoreError, StoreError } from "./src/errors.ts";
export type { CountSummary, HistogramSummary, LatencySummary } from "./src/histogram.ts";
export type { IoStats } from "./src/pace/io-stats.ts";
export type { IoCause, IoCauseStats } from "./src/pace/measured-disk.ts";
export type { Value } from "./src/series/column-slice.ts";
export type { InferredRecipe } from "./src/series/columns/column-codec.ts";
export type { Recipe, Recipes } from "./src/series/columns/recipe.ts";
export type { Pair } from "./src/series/key-value.ts";
export type { RangeRead } from "./src/series/range-read.ts";
export type { ArrowColumn, BatchInput, ColumnInput, PairColumn, RowInput } from "./src/series/row-input.ts";
export type { Column, ColumnOption, ColumnType } from "./src/series/schema.ts";
export type { Series, SeriesStats, TailOptions } from "./src/series/series.ts";
export type { DuplicatesPolicy } from "./src/series/series-file.ts";
export type { SeriesOptions } from "./src/series/series-options.ts";
export type {
  AsOfOptions,
  RangeOptions,
  ResampleOptions,
  SequenceGap,
  SeriesRow,
} from "./src/series/series-reads.ts";
export type { BlockCacheStats, SeriesSize, SeriesTotals } from "./src/series/series-size.ts";
export type { SeriesStore } from "./src/series/series-store.ts";
export type { Cache, CacheMap, CacheMapOptions } from "./src/state/cache-map.ts";
export type { StateDifference, StateSnapshot } from "./src/state/snapshot.ts";
export type { State, StateStats } from "./src/state/state.ts";
export type { StateMap, StateMapOptions, StateUpdate, StateVersion } from "./src/state/state-map.ts";
export type { LogInspection } from "./src/wal/inspect.ts";
export type { LogStats, OpenReport } from "./src/wal/options.ts";
export {
  type ExportFileOptions,
  inferFileRecipes,
  type PublishFileOptions,
} from "./transfer/feature-files.ts";
export type { SeriesExportOptions } from "./transfer/series-export.ts";
export type { SeriesImportOptions, SeriesImportResult } from "./transfer/series-import.ts";
