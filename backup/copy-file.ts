import { throwIfAborted } from "../checkpoints/aborted.ts";
import type { Disk } from "../src/disk/disk.ts";
import { StoreError } from "../src/errors.ts";
import type { BackupContext } from "./part.ts";

const COPY_BYTES = 1 << 20;

/** Bytes `from` to `to` of an append-only file. */
export interface FileRange {
  source: string;
  target: string;
  from: number;
  to: number;
}

/**
 * Makes `target` the first `to` bytes of `source`, of which it has `from` already; what it had beyond goes. Durable
 * when it resolves, but for a new file's name.
 */
export async function copyRange(
  { disk, signal, onBytes }: Pick<BackupContext, "disk" | "signal" | "onBytes">,
  { source, target, from, to }: FileRange,
): Promise<void> {
  const input = disk.open(source, { access: "read" });
  try {
    const output = disk.open(target, { access: "write", create: "may" });
    try {
      output.truncate(from);
      const window = Buffer.allocUnsafeSlow(Math.min(COPY_BYTES, Math.max(1, to - from)));
      for (let at = from; at < to; ) {
        throwIfAborted(signal);
        const part = window.subarray(0, Math.min(window.byteLength, to - at));
        const count = await input.read(part, at);
        if (count === 0) throw shorter(source, at, to);
        await output.write(part.subarray(0, count), at);
        at += count;
        onBytes(count);
      }
      await output.sync();
    } finally {
      output.close();
    }
  } finally {
    input.close();
  }
}

/** Whether `target`, all of it, is how `source` begins. */
export async function isBeginningOf(disk: Disk, target: string, source: string): Promise<boolean> {
  const sizeBytes = disk.stat(target)?.sizeBytes ?? 0;
  if ((disk.stat(source)?.sizeBytes ?? 0) < sizeBytes) return false;
  const [ours, theirs] = [target, source].map((path) => disk.open(path, { access: "read" }));
  try {
    const [a, b] = [Buffer.allocUnsafeSlow(COPY_BYTES), Buffer.allocUnsafeSlow(COPY_BYTES)];
    for (let at = 0; at < sizeBytes; at += COPY_BYTES) {
      const bytes = Math.min(COPY_BYTES, sizeBytes - at);
      const counts = [
        await ours!.read(a.subarray(0, bytes), at),
        await theirs!.read(b.subarray(0, bytes), at),
      ];
      if (counts[0] !== bytes || counts[1] !== bytes) return false;
      if (!a.subarray(0, bytes).equals(b.subarray(0, bytes))) return false;
    }
    return true;
  } finally {
    ours!.close();
    theirs!.close();
  }
}

function shorter(path: string, atBytes: number, toBytes: number): StoreError {
  return new StoreError("ERR_STORE_CORRUPT", `${path} ends at ${atBytes} bytes, before ${toBytes}`, {
    context: { path, sizeBytes: atBytes },
    hint: "Run `varve check --read-data`, then `varve repair`; the backup is as it was before.",
  });
}
