export type { CheckOptions, CheckResult, Problem } from "./checkpoints/check.ts";
export type { Checkpoint, TensorInfo } from "./checkpoints/checkpoint.ts";
export type { Checkpoints, RefInfo, VersionDetails, VersionInfo } from "./checkpoints/checkpoints.ts";
export type { DiffOptions, TensorDiff } from "./checkpoints/diff.ts";
export type { RepairResult } from "./checkpoints/repair.ts";
export type { RestoredFiles, RestoreFilesOptions } from "./checkpoints/restore-files.ts";
export type { PruneOptions, PruneResult } from "./checkpoints/retention.ts";
export type { Progress, SaveOptions, SaveResult } from "./checkpoints/save.ts";
export type { NamedTensors } from "./checkpoints/tensor-source.ts";
export type { SaveTicket } from "./checkpoints/ticket.ts";
export type { AnyTable } from "./features/any-table.ts";
export { type AsOfJoinOptions, asOfJoin } from "./features/as-of-join.ts";
export type {
  FeatureInfo,
  Features,
  LoadOptions,
  PublishOptions,
  PublishResult,
} from "./features/features.ts";
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
export type { CellValue, Column, ColumnType, Table, TimeUnit } from "./formats/tables/table.ts";
export type { DType, Tensor, TypedArray } from "./formats/tensor.ts";
export {
  checkStoreAt as checkStore,
  type OpenStoreOptions,
  openStore,
  repairStoreAt as repairStore,
  type Store,
  type StoreStats,
} from "./open-store.ts";
export type { GcOptions, GcResult } from "./src/chunks/gc.ts";
export { type ErrorCode, InvariantError, isStoreError, StoreError } from "./src/errors.ts";
export type { Cache, CacheMap, CacheMapOptions } from "./src/state/cache-map.ts";
export type { StateDifference, StateSnapshot } from "./src/state/snapshot.ts";
export type { State } from "./src/state/state.ts";
export type { StateMap, StateMapOptions, StateUpdate, StateVersion } from "./src/state/state-map.ts";
