import type { TensorSpan } from "../formats/layout.ts";
import { sameDigest } from "../src/chunks/digest.ts";
import type { Checkpoint, TensorInfo } from "./checkpoint.ts";
import type { ManifestFile } from "./manifest-format.ts";

/** Where a tensor of one version may differ from the same one of another. */
export interface TensorChanges {
  name: string;
  file: string;
  /**
   * Rows along the first axis (a scalar has one), from the first to before the last, ascending. Rows outside are equal;
   * inside, at least one is not in every 65,536 elements.
   */
  rows: { from: number; to: number }[];
  /** Absent from the earlier version, or there with another dtype or shape. */
  isNew: boolean;
  /** Only the earlier version has it; `file` is that one's, and there are no rows. */
  isRemoved?: true;
}

/** A range of a tensor's bytes. */
export interface ByteRange {
  from: number;
  to: number;
}

/** A run of a tensor's bytes that lies in one chunk. */
export interface Piece {
  from: number;
  to: number;
  /** The chunk, and its size. */
  digest: Uint8Array;
  rawBytes: number;
  /** Where in the chunk it begins. */
  at: number;
}

const offsetsOf = new WeakMap<ManifestFile, Float64Array>();

/** Where each chunk of a file begins, and at last where the file ends. */
function chunkOffsets(file: ManifestFile): Float64Array {
  let offsets = offsetsOf.get(file);
  if (offsets === undefined) {
    offsets = new Float64Array(file.chunks.length + 1);
    for (const [i, { rawBytes }] of file.chunks.entries()) offsets[i + 1] = offsets[i]! + rawBytes;
    offsetsOf.set(file, offsets);
  }
  return offsets;
}

function* piecesOf(file: ManifestFile, { offset, sizeBytes }: TensorSpan): Iterable<Piece> {
  const offsets = chunkOffsets(file);
  let low = 0;
  let high = file.chunks.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (offsets[middle + 1]! <= offset) low = middle + 1;
    else high = middle;
  }
  for (let i = low; i < file.chunks.length && offsets[i]! < offset + sizeBytes; i++) {
    const start = Math.max(offset, offsets[i]!);
    const end = Math.min(offset + sizeBytes, offsets[i + 1]!);
    const { digest, rawBytes } = file.chunks[i]!;
    yield { from: start - offset, to: end - offset, digest, rawBytes, at: start - offsets[i]! };
  }
}

/**
 * A tensor's bytes, by whether they lie in the chunks that the earlier version has there: found from the manifests
 * alone. `undefined` when the earlier version has no such tensor.
 */
export function comparePieces(
  from: Checkpoint,
  to: Checkpoint,
  tensor: TensorInfo,
): { changed: ByteRange[]; same: Piece[] } | undefined {
  const now = to.locate(tensor.name, tensor.file);
  const before = from.find(tensor.name, tensor.file);
  if (
    before === undefined ||
    before.span.dtype !== now.span.dtype ||
    before.span.shape.join() !== now.span.shape.join()
  ) {
    return undefined;
  }
  const old = new Map<number, Piece>();
  for (const piece of piecesOf(before.file, before.span)) old.set(piece.from, piece);
  const changed: ByteRange[] = [];
  const same: Piece[] = [];
  for (const piece of piecesOf(now.file, now.span)) {
    const known = old.get(piece.from);
    const last = changed.at(-1);
    if (
      known !== undefined &&
      known.to === piece.to &&
      known.at === piece.at &&
      sameDigest(known.digest, piece.digest)
    ) {
      same.push(piece);
    } else if (last !== undefined && last.to === piece.from) last.to = piece.to;
    else changed.push({ from: piece.from, to: piece.to });
  }
  return { changed, same };
}

/** Tensors of `to` that may differ from those of `from`, and in which rows; then those that `to` has no more. */
export function changesBetween(from: Checkpoint, to: Checkpoint): TensorChanges[] {
  const changes: TensorChanges[] = [];
  for (const tensor of to.tensors) {
    const ranges = comparePieces(from, to, tensor)?.changed;
    const rowCount = tensor.shape[0] ?? 1;
    if (ranges === undefined) {
      const rows = rowCount === 0 ? [] : [{ from: 0, to: rowCount }];
      changes.push({ name: tensor.name, file: tensor.file, rows, isNew: true });
    } else if (ranges.length > 0) {
      const rowBytes = tensor.sizeBytes / rowCount;
      changes.push({ name: tensor.name, file: tensor.file, rows: rowsOf(ranges, rowBytes), isNew: false });
    }
  }
  for (const { name, file } of from.tensors) {
    if (to.find(name, file) === undefined)
      changes.push({ name, file, rows: [], isNew: false, isRemoved: true });
  }
  return changes;
}

function rowsOf(ranges: ByteRange[], rowBytes: number): { from: number; to: number }[] {
  const rows: { from: number; to: number }[] = [];
  for (const range of ranges) {
    const from = Math.floor(range.from / rowBytes);
    const to = Math.ceil(range.to / rowBytes);
    const last = rows.at(-1);
    if (last !== undefined && from <= last.to) last.to = to;
    else rows.push({ from, to });
  }
  return rows;
}
