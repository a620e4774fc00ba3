import type { FileKind, StoredLayout } from "./manifest-format.ts";
import type { OptimizerSettings } from "./optimizer/settings.ts";

/** A file on its way into a version: from the disk, or made of tensors in memory. */
export interface SourceFile {
  kind: FileKind;
  name: string;
  sizeBytes: number;
  /** Files of tensors only. */
  layout?: StoredLayout;
  /** Hyperparameters of the optimizer whose state the file has, as far as they are known. */
  optimizer?: OptimizerSettings;
  origin: PathOrigin | MemoryOrigin;
}

export interface PathOrigin {
  path: string;
  /** As seen when the save began; another one when it ends means that the file was written meanwhile. */
  modifiedMs: number;
}

export interface MemoryOrigin {
  /** Copies bytes from `offset` on into `target`. */
  copy(offset: number, target: Uint8Array): void;
  /** The bytes themselves, when they lie in shared memory in one piece and need no copy. */
  shared(offset: number, sizeBytes: number): Uint8Array | undefined;
}

/** A memory origin over bytes that never change: a header, a resume blob. */
export function bytesOrigin(bytes: Uint8Array): MemoryOrigin {
  return {
    copy: (offset, target) => target.set(bytes.subarray(offset, offset + target.byteLength)),
    shared: () => undefined,
  };
}
