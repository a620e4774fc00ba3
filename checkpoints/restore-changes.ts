import { setImmediate as turn } from "node:timers/promises";
import { type Tensor, tensorBytes } from "../formats/tensor.ts";
import type { ChunkReader } from "../src/chunks/chunk-reader.ts";
import { digestOf, sameDigest } from "../src/chunks/digest.ts";
import { StoreError } from "../src/errors.ts";
import { throwIfAborted } from "./aborted.ts";
import { eachOf } from "./at-once.ts";
import { type ByteRange, comparePieces, type Piece } from "./changes.ts";
import type { Checkpoint } from "./checkpoint.ts";

export interface RestoreChangesOptions {
  file?: string;
  signal?: AbortSignal;
  /** Compare what is not going to be read with what it has to be. */
  strict: boolean;
}

/**
 * Brings tensors that hold version `from` to version `to` by reading what differs.
 * @throws `ERR_CONFLICT` in strict mode, before anything is touched: they hold something else where the two agree
 */
export async function restoreChanges(
  { from, to, reader }: { from: Checkpoint; to: Checkpoint; reader: ChunkReader },
  targets: readonly (readonly [string, Tensor])[],
  { file: fileName, signal, strict }: RestoreChangesOptions,
): Promise<void> {
  const options = { signal, ...(fileName === undefined ? {} : { file: fileName }) };
  const differing: string[] = [];
  const wanted: { name: string; tensor: Tensor; ranges: ByteRange[] }[] = [];
  for (const [name, tensor] of targets) {
    const { file, span } = to.locate(name, fileName);
    const { dtype, shape, sizeBytes } = span;
    const compared = comparePieces(from, to, { name, file: file.name, dtype, shape, sizeBytes });
    wanted.push({ name, tensor, ranges: compared?.changed ?? [{ from: 0, to: sizeBytes }] });
    if (!strict || compared === undefined) continue;
    throwIfAborted(signal);
    if (!holds(reader, tensorBytes(tensor, name), compared.same)) differing.push(name);
    await turn();
  }
  if (differing.length > 0) throw otherContent(from, differing);
  await eachOf(wanted, async ({ name, tensor, ranges }) => {
    for (const range of ranges) await to.rangeInto(name, tensor, range, options);
  });
}

/** Whether these are the bytes of the pieces: by digest where a piece is a chunk, else beside the chunk itself. */
function holds(reader: ChunkReader, bytes: Uint8Array, pieces: readonly Piece[]): boolean {
  return pieces.every(({ from, to, at, digest, rawBytes }) => {
    const found = bytes.subarray(from, to);
    if (to - from === rawBytes) return sameDigest(digestOf(found), digest);
    return Buffer.compare(reader.view(digest, rawBytes).subarray(at, at + to - from), found) === 0;
  });
}

function otherContent({ ref, version }: Checkpoint, tensors: string[]): StoreError {
  const names = `${tensors.slice(0, 3).join(", ")}${tensors.length > 3 ? ", ..." : ""}`;
  return new StoreError("ERR_CONFLICT", `${names}: not what ${ref}@${version} has`, {
    context: { from: `${ref}@${version}`, tensors },
    hint: "Nothing was read. Restore without `from`, or name the version that the tensors hold.",
  });
}
