export type { CheckOptions, CheckResult, Problem } from "./checkpoints/check.ts";
export type { Checkpoint, TensorInfo } from "./checkpoints/checkpoint.ts";
export type { Checkpoints, RefInfo, VersionDetails, VersionInfo } from "./checkpoints/checkpoints.ts";
export type { DiffOptions, TensorDiff } from "./checkpoints/diff.ts";
export type { EncodingUse, VersionEncodings } from "./checkpoints/encodings.ts";
export type { OptimizerSettings } from "./checkpoints/optimizer/settings.ts";
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
export type { RecompressOptions, RecompressResult } from "./src/chunks/recompress.ts";
export { type ErrorCode, InvariantError, isStoreError, StoreError } from "./src/errors.ts";
