import type { Capture } from "../src/capture/capture.ts";
import type { CapturePlan } from "../src/capture/capture-plan.ts";
import type { KeptSpool } from "../src/capture/spool-files.ts";
import type { PlannedChunk } from "./chunk-plan.ts";
import type { ChunkRef, FileKind, StoredLayout } from "./manifest-format.ts";
import type { OptimizerSettings } from "./optimizer/settings.ts";
import type { TouchedChunks } from "./touched-chunks.ts";

/** A file on its way into a version: from the disk, made of captured tensors, or a few bytes in memory. */
export interface SourceFile {
  kind: FileKind;
  name: string;
  sizeBytes: number;
  /** Files of tensors only. */
  layout?: StoredLayout;
  /** The chunks that the layout gives, where somebody has planned them already. */
  planned?: PlannedChunk[];
  /** Hyperparameters of the optimizer whose state the file has, as far as they are known. */
  optimizer?: OptimizerSettings;
  origin: PathOrigin | CapturedOrigin | TouchedOrigin | BytesOrigin;
}

export interface PathOrigin {
  path: string;
  /** As seen when the save began; another one when it ends means that the file was written meanwhile. */
  modifiedMs: number;
}

/** Tensors that were, or are being, captured: the trainer may have changed them since. */
export interface CapturedOrigin {
  capture: Capture;
  plan: CapturePlan;
  /** Digests of the chunks as they were when the save began; captured bytes that differ were written too early. */
  expected?: Uint8Array[];
  /** What the save before captured of the same tensors: raw bytes of the chunks these are encoded against. */
  before?: KeptSpool | undefined;
}

/** Tensors of which only named rows were captured: the rest is what the save before has. */
export interface TouchedOrigin {
  touched: TouchedChunks;
  /** The chunks of the save that the rows are relative to. */
  base: ChunkRef[];
  /** Whether that save's version is still there, and with it all of these chunks; asked under gc's lock. */
  isBaseKept(): boolean;
  planned: PlannedChunk[];
  /** As in `CapturedOrigin`; given, every chunk is compared. */
  expected?: Uint8Array[];
}

/** Bytes that never change: a resume blob. */
export interface BytesOrigin {
  bytes: Uint8Array;
}
