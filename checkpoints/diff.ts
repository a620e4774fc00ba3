import type { TensorSpan } from "../formats/layout.ts";
import type { Engine } from "../src/store.ts";
import { throwIfAborted } from "./aborted.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { type Comparison, compareJob, type StretchPlace } from "./compare.job.ts";
import type { ManifestFile } from "./manifest-format.ts";
import type { Progress } from "./save.ts";

export interface DiffOptions {
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

export interface TensorDiff {
  name: string;
  file: string;
  /** `reshaped`: dtype or shape differ, and nothing more is compared. */
  status: "same" | "changed" | "added" | "removed" | "reshaped";
  dtype: string;
  shape: number[];
  elements: number;
  /** Elements whose bits differ. */
  changed?: number;
  /** Largest and mean absolute difference, over elements that are numbers in both. */
  maxAbs?: number;
  meanAbs?: number;
  /** Euclidean norms of the tensor in either version. */
  normA?: number;
  normB?: number;
}

interface Side {
  span: TensorSpan;
  file: ManifestFile;
}

/** Compares two versions tensor by tensor, in the order of the second, then what only the first has. */
export async function diffCheckpoints(
  engine: Engine,
  a: Checkpoint,
  b: Checkpoint,
  options: DiffOptions,
): Promise<TensorDiff[]> {
  const left = sidesOf(a);
  const right = sidesOf(b);
  const totalBytes = [...right.values()].reduce((sum, side) => sum + side.span.sizeBytes, 0);
  let doneBytes = 0;
  const diffs: TensorDiff[] = [];
  for (const [key, side] of right) {
    throwIfAborted(options.signal);
    const other = left.get(key);
    if (other === undefined) diffs.push(describe(side, "added"));
    else if (!sameShape(other.span, side.span)) diffs.push(describe(side, "reshaped"));
    else diffs.push(await compareTensor(engine, other, side));
    doneBytes += side.span.sizeBytes;
    options.onProgress?.({ doneBytes, totalBytes });
  }
  for (const [key, side] of left) if (!right.has(key)) diffs.push(describe(side, "removed"));
  return diffs;
}

/** Tensors by file and name; a version of one file is compared whatever that file is called. */
function sidesOf(checkpoint: Checkpoint): Map<string, Side> {
  const files = checkpoint.files.filter((file) => file.layout !== undefined);
  const sides = new Map<string, Side>();
  for (const file of files) {
    const prefix = files.length === 1 ? "" : `${file.name}\0`;
    for (const span of file.layout!.spans) sides.set(`${prefix}${span.name}`, { span, file });
  }
  return sides;
}

function sameShape(a: TensorSpan, b: TensorSpan): boolean {
  return (
    a.dtype === b.dtype &&
    a.shape.length === b.shape.length &&
    a.shape.every((axis, i) => axis === b.shape[i])
  );
}

function describe({ span, file }: Side, status: TensorDiff["status"]): TensorDiff {
  const elements = span.shape.reduce((product, axis) => product * axis, 1);
  return { name: span.name, file: file.name, status, dtype: span.dtype, shape: span.shape, elements };
}

async function compareTensor(engine: Engine, a: Side, b: Side): Promise<TensorDiff> {
  const total = { changed: 0, maxAbs: 0, sumAbs: 0, compared: 0, sumSquaresA: 0, sumSquaresB: 0 };
  const stretchesA = stretchesOf(a);
  const stretchesB = stretchesOf(b);
  const { place } = engine.chunks;
  const jobsMax = engine.pool.size * 2;
  for (let i = 0; i < stretchesB.length; i += jobsMax) {
    const jobs = stretchesB.slice(i, i + jobsMax).map(({ sizeBytes, ...stretch }, j) => {
      const { digest, offset } = stretchesA[i + j]!;
      const request = { place, dtype: b.span.dtype, sizeBytes, a: { digest, offset }, b: stretch };
      return engine.pool.run<Comparison>(compareJob, request);
    });
    for (const each of await Promise.all(jobs)) {
      total.changed += each.changed;
      total.maxAbs = Math.max(total.maxAbs, each.maxAbs);
      total.sumAbs += each.sumAbs;
      total.compared += each.compared;
      total.sumSquaresA += each.sumSquaresA;
      total.sumSquaresB += each.sumSquaresB;
    }
  }
  return {
    ...describe(b, total.changed === 0 ? "same" : "changed"),
    changed: total.changed,
    maxAbs: total.maxAbs,
    meanAbs: total.compared === 0 ? 0 : total.sumAbs / total.compared,
    normA: Math.sqrt(total.sumSquaresA),
    normB: Math.sqrt(total.sumSquaresB),
  };
}

/** The tensor as stretches of its chunks. Tensors of one dtype and shape are cut alike, wherever they lie. */
function stretchesOf({ span, file }: Side): (StretchPlace & { sizeBytes: number })[] {
  const stretches: (StretchPlace & { sizeBytes: number })[] = [];
  const end = span.offset + span.sizeBytes;
  let start = 0;
  for (const chunk of file.chunks) {
    const from = Math.max(start, span.offset);
    const to = Math.min(start + chunk.rawBytes, end);
    if (from < to) stretches.push({ digest: chunk.digest, offset: from - start, sizeBytes: to - from });
    start += chunk.rawBytes;
    if (start >= end) break;
  }
  return stretches;
}
