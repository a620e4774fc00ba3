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
export { fromFloat32, toFloat32 } from "./formats/floats.ts";
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
export type { Value } from "./src/series/column-slice.ts";
export type { Pair } from "./src/series/key-value.ts";
export type { RangeRead } from "./src/series/range-read.ts";
export type { ArrowColumn, BatchInput, ColumnInput, PairColumn, RowInput } from "./src/series/row-encoder.ts";
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
export type { SeriesStore } from "./src/series/series-store.ts";
export type { SeriesExportOptions } from "./transfer/series-export.ts";
export type { SeriesImportOptions, SeriesImportResult } from "./transfer/series-import.ts";
