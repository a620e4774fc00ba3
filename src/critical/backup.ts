import { type Disk, PAGE_BYTES } from "../disk/disk.ts";
import { makeDurableDirectory } from "../disk/durable-directory.ts";
import { StoreError } from "../errors.ts";
import type { History } from "./history.ts";
import { BLOCK_HEADER_BYTES, FILE_HEADER_BYTES } from "./history-format.ts";
import { blockPlaces } from "./history-reader.ts";
import { writeHistoryStart } from "./history-start.ts";
import type { FenceKind } from "./sequence.ts";
import { SLOT_NAMES } from "./snapshot-format.ts";
import { readSnapshotHeader } from "./snapshot-reader.ts";
import { type HistoryPosition, SnapshotWriter, warmUp } from "./snapshot-writer.ts";
import type { State } from "./state.ts";

export interface BackupOptions {
  signal?: AbortSignal;
  onProgress?: (progress: { doneBytes: number; totalBytes: number }) => void;
  /** Why the copy's sequences are fenced. Default: `backup`. */
  kind?: Extract<FenceKind, "backup" | "fork">;
}

export interface BackupResult {
  /** The copy is the state right after this commit. */
  lsn: bigint;
  /** Bytes written; files an earlier backup had already are not. */
  writtenBytes: number;
}

export interface BackupParts {
  disk: Disk;
  state: State;
  history: History;
}

const COPY_BYTES = 1 << 20;

/**
 * Writes a copy of the critical partition, as it is now, to `directory`, while commits go on: a verified snapshot
 * whose sequences are fenced, and the history. The copy's log begins when it is first opened. Onto an earlier
 * backup that nobody has opened, history it has already is not written again.
 *
 * The caller sees to it that no other snapshot is being taken.
 *
 * @throws ERR_EXISTS when the directory has been opened as a store, ERR_DISK_FULL, ERR_IO, ERR_ABORTED
 */
export async function backupCritical(
  { disk, state, history }: BackupParts,
  directory: string,
  options: BackupOptions = {},
): Promise<BackupResult> {
  const { signal, onProgress, kind = "backup" } = options;
  checkDestination(disk, directory);
  makeDurableDirectory(disk, `${directory}/history`);
  await warmUp(state);
  const { slot, number } = nextSlot(disk, directory);
  const fence = { kind, number: state.fences + 1, detail: `made by varve after LSN ${state.lsn}` };
  const writer = new SnapshotWriter(state, number, { copy: { fence, logBase: state.lsn } });
  const lsn = writer.lsn;
  const boundary = history.boundary(lsn);
  boundary.catch(() => {});
  let writtenBytes = 0;
  let copiedFiles: string[] = [];
  let startLsn = 1;
  const begin = () => {
    if (startLsn > 1) writeHistoryStart(disk, `${directory}/history`, startLsn);
  };
  const copied = async (): Promise<HistoryPosition> => {
    const position = await boundary;
    const files = history.files.filter(({ name }) => name <= position.file);
    const sizes = files.map(({ name, sizeBytes }) =>
      name === position.file ? position.sizeBytes : sizeBytes,
    );
    const totalBytes = sizes.reduce((sum, size) => sum + size, 0);
    let doneBytes = 0;
    for (const [index, { path, name }] of files.entries()) {
      if (signal?.aborted) throw new StoreError("ERR_ABORTED", "the backup was aborted");
      const target = `${directory}/history/${name}`;
      const sizeBytes = sizes[index]!;
      if (!sameHistory(disk, path, target, sizeBytes)) {
        writtenBytes += await copyFile(disk, path, target, sizeBytes);
      }
      doneBytes += sizeBytes;
      onProgress?.({ doneBytes, totalBytes });
    }
    startLsn = history.startLsn ?? 1;
    copiedFiles = files.map(({ name }) => name);
    if (number === 1) begin();
    disk.syncDirectory(`${directory}/history`);
    return position;
  };
  const { bodyBytes } = await writer.write(disk, `${directory}/${SLOT_NAMES[slot]}`, copied, signal);
  disk.syncDirectory(directory);
  // An earlier backup's history begins where it did until its snapshot counts no longer.
  if (number > 1) begin();
  dropOthers(disk, `${directory}/history`, copiedFiles);
  return { lsn: BigInt(lsn), writtenBytes: writtenBytes + bodyBytes };
}

/** Removes the history that the store has dropped since an earlier backup: without what came between it follows nothing. */
function dropOthers(disk: Disk, directory: string, kept: readonly string[]): void {
  const others = disk.list(directory).filter((name) => name.endsWith(".hist") && !kept.includes(name));
  for (const name of others) disk.remove(`${directory}/${name}`);
  if (others.length > 0) disk.syncDirectory(directory);
}

/** A backup that was opened has a log of its own, which this one would not continue. */
function checkDestination(disk: Disk, directory: string): void {
  const opened = disk.list(directory).some((name) => name.endsWith(".seg"));
  if (!opened) return;
  throw new StoreError(
    "ERR_EXISTS",
    `${directory} has been opened as a store and is no longer a mere backup`,
    {
      context: { directory },
      hint: "Back up to a new directory.",
    },
  );
}

function nextSlot(disk: Disk, directory: string): { slot: 0 | 1; number: number } {
  const [a, b] = SLOT_NAMES.map((name) => readSnapshotHeader(disk, `${directory}/${name}`)?.number ?? 0);
  return { slot: a! > b! ? 1 : 0, number: Math.max(a!, b!) + 1 };
}

/** Whether a file is there with the same beginning and the same last link, which stands for everything before it. */
function sameHistory(disk: Disk, source: string, target: string, sizeBytes: number): boolean {
  if (disk.stat(target)?.sizeBytes !== sizeBytes) return false;
  try {
    const last = blockPlaces(disk, source, sizeBytes).at(-1);
    if (last === undefined) return false;
    const offsets: [number, number][] = [
      [0, FILE_HEADER_BYTES],
      [last.offset, BLOCK_HEADER_BYTES],
    ];
    return offsets.every(([offset, length]) =>
      readPart(disk, source, offset, length).equals(readPart(disk, target, offset, length)),
    );
  } catch {
    return false;
  }
}

function readPart(disk: Disk, path: string, offset: number, length: number): Buffer {
  const file = disk.open(path, { access: "read" });
  try {
    const bytes = Buffer.alloc(length);
    file.readSync(bytes, offset);
    return bytes;
  } finally {
    file.close();
  }
}

/**
 * Copies a file's first bytes; returns how many of them were written. What an earlier backup has of them stays as it is,
 * down to the byte: its snapshot counts until this one's is whole.
 */
async function copyFile(disk: Disk, source: string, target: string, sizeBytes: number): Promise<number> {
  const from = disk.open(source, { access: "read" });
  try {
    const to = disk.open(target, { access: "write", create: "may" });
    try {
      const buffer = Buffer.allocUnsafeSlow(Math.min(COPY_BYTES, Math.max(1, sizeBytes)));
      const there = Buffer.allocUnsafeSlow(buffer.byteLength);
      let writtenBytes = 0;
      for (let at = 0; at < sizeBytes; ) {
        const part = buffer.subarray(0, Math.min(buffer.byteLength, sizeBytes - at));
        const got = await from.read(part, at);
        if (got === 0) throw new StoreError("ERR_STORE_CORRUPT", `${source} is shorter than it was`);
        const old = there.subarray(0, writtenBytes === 0 ? await to.read(there.subarray(0, got), at) : 0);
        const same = sharedBytes(part, old);
        if (same < got) await to.write(part.subarray(same, got), at + same);
        writtenBytes += got - same;
        at += got;
      }
      if (to.sizeBytes() > sizeBytes) to.truncate(sizeBytes);
      await to.sync();
      return writtenBytes;
    } finally {
      to.close();
    }
  } finally {
    from.close();
  }
}

/** How many bytes, in whole pages, `old` begins with that `part` begins with too. */
function sharedBytes(part: Buffer, old: Buffer): number {
  const { byteLength } = old;
  if (old.equals(part.subarray(0, byteLength))) return byteLength;
  let same = 0;
  while (old.subarray(same, same + PAGE_BYTES).equals(part.subarray(same, same + PAGE_BYTES)))
    same += PAGE_BYTES;
  return same;
}
