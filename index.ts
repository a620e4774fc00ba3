export type { TensorSpec } from "./checkpoints/allocate.ts";
export type { TensorChanges } from "./checkpoints/changes.ts";
export type { CheckOptions, CheckResult, Problem } from "./checkpoints/check.ts";
export type { Checkpoint, TensorInfo } from "./checkpoints/checkpoint.ts";
export type { Checkpoints } from "./checkpoints/checkpoints.ts";
export type { DiffOptions, TensorDiff } from "./checkpoints/diff.ts";
export type { FollowOptions } from "./checkpoints/follow.ts";
export type { PinnedModel } from "./checkpoints/pins.ts";
export type { RepairResult } from "./checkpoints/repair.ts";
export type { RestoredFiles, RestoreFilesOptions } from "./checkpoints/restore-files.ts";
export type { PruneOptions, PruneResult } from "./checkpoints/retention.ts";
export type { Progress, SaveOptions, SaveResult } from "./checkpoints/save.ts";
export type { NamedTensors } from "./checkpoints/tensor-source.ts";
export type { SaveTicket } from "./checkpoints/ticket.ts";
export type { Touched } from "./checkpoints/touched-rows.ts";
export type { LoopOptions, TrainingStep } from "./checkpoints/training-loop.ts";
export type { RefInfo, VersionDetails, VersionInfo } from "./checkpoints/version-info.ts";
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
export type { CaptureStats } from "./src/capture/captures.ts";
export type { GcOptions, GcResult } from "./src/chunks/gc.ts";
export { type ErrorCode, InvariantError, isStoreError, StoreError } from "./src/errors.ts";
