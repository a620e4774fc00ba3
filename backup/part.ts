import type { Disk } from "../src/disk/disk.ts";

/** What a part of a backup works with. */
export interface BackupContext {
  disk: Disk;
  storeId: Uint8Array;
  /** The store's directory, and the copy's. */
  source: string;
  destination: string;
  nowUs: () => bigint;
  signal: AbortSignal | undefined;
  /** Told of bytes as they are copied; of bytes that need no copying too. */
  onBytes: (bytes: number) => void;
}

export interface PartResult {
  /** Bytes written to the destination; what an earlier backup had already is not. */
  writtenBytes: number;
}

/**
 * One kind of state of a store, copied by itself while it is in use. The parts are copied in the order of the list in
 * backup.ts: what one refers to must be in the copy of a part after it, because that one is copied from a later moment.
 */
export interface BackupPart<Result extends PartResult = PartResult> {
  /** Its name in the result. */
  readonly name: string;
  /** Bytes that will be reported, roughly: for the progress bar. */
  sizeBytes(context: BackupContext): number;
  copy(context: BackupContext): Promise<Result>;
}
