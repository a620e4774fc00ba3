import { planFile } from "../formats/safetensors/writer.ts";
import { type Tensor, tensorBytes } from "../formats/tensor.ts";
import { CapturePlan, type CaptureSpan } from "../src/capture/capture-plan.ts";
import { digestOf } from "../src/chunks/digest.ts";
import { StoreError } from "../src/errors.ts";
import { CHUNK_BYTES_MAX, JOB_BYTES } from "../src/limits.ts";
import { batchesOf } from "./batches.ts";
import { type PlannedChunk, planChunks } from "./chunk-plan.ts";
import { storedLayout } from "./optimizer/families.ts";
import type { SourceFile } from "./source.ts";

/** Tensors by name, in any of the usual forms. */
export type NamedTensors =
  | Record<string, Tensor>
  | ReadonlyMap<string, Tensor>
  | Iterable<readonly [string, Tensor]>;

/** The one file of a version that was saved from tensors instead of files. */
const MODEL_FILE = "model.safetensors";

/** Tensors as the safetensors file they would make, with what it takes to capture them. */
export interface TensorSource {
  file: Omit<SourceFile, "origin">;
  chunks: PlannedChunk[];
  plan: CapturePlan;
  /** Where the file's bytes are, by offset. */
  spans: CaptureSpan[];
  /** The part of the capture that a tensor is. */
  partOf: ReadonlyMap<string, number>;
}

interface Known {
  entries: [string, Tensor][];
  /** By entry: memory may have been taken away since, by a transfer or a resize. */
  sizes: number[];
  source: TensorSource;
}

/**
 * Plans what saving tensors takes, and remembers it: a loop saves the same tensors again and again, and then it is
 * only compared. A plan is kept as long as the first tensor's data.
 */
export class TensorSources {
  readonly #known = new WeakMap<object, Known>();

  /** @throws `ERR_INVALID_ARGUMENT`, `ERR_LIMIT` for tensors that no file can hold */
  of(tensors: NamedTensors): TensorSource {
    const entries = [...entriesOf(tensors)] as [string, Tensor][];
    const key = entries[0]?.[1]?.data;
    if (key === undefined) return planTensors(entries);
    const known = this.#known.get(key);
    if (known !== undefined && sameTensors(known, entries)) return known.source;
    const source = planTensors(entries);
    const copies = entries.map(([name, { dtype, shape, data }]): [string, Tensor] => [
      name,
      { dtype, shape: [...shape], data },
    ]);
    const sizes = copies.map(([, { data }]) => data.byteLength);
    this.#known.set(key, { entries: copies, sizes, source });
    return source;
  }
}

function sameTensors({ entries, sizes }: Known, now: [string, Tensor][]): boolean {
  if (entries.length !== now.length) return false;
  return entries.every(([name, tensor], i) => {
    const [nowName, nowTensor] = now[i]!;
    return (
      name === nowName &&
      tensor.data === nowTensor.data &&
      tensor.data.byteLength === sizes[i] &&
      tensor.dtype === nowTensor.dtype &&
      tensor.shape.length === nowTensor.shape.length &&
      tensor.shape.every((axis, at) => axis === nowTensor.shape[at])
    );
  });
}

function planTensors(entries: [string, Tensor][]): TensorSource {
  const byName = new Map<string, Tensor>();
  for (const [name, tensor] of entries) {
    if (byName.has(name)) throw twice(name);
    byName.set(name, tensor);
  }
  const descriptions = [...byName].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  const { header, layout: described, sizeBytes } = planFile(descriptions);
  const layout = storedLayout(described);
  // Nobody writes the header: in shared memory it is captured like everything else.
  const shared = new Uint8Array(new SharedArrayBuffer(header.byteLength));
  shared.set(header);
  const spans: CaptureSpan[] = [{ offset: 0, bytes: shared, part: -1 }];
  const partOf = new Map<string, number>();
  layout.spans.forEach(({ name, offset }, part) => {
    const bytes = tensorBytes(byName.get(name)!, name);
    partOf.set(name, part);
    if (bytes.byteLength > 0) spans.push({ offset, bytes, part });
  });
  const chunks = planChunks(layout, sizeBytes);
  const ranges = [...batchesOf(chunks)].map((batch) => ({
    offset: batch.offset,
    sizeBytes: batch.sizeBytes,
  }));
  const plan = new CapturePlan(spans, ranges, layout.spans.length);
  const file = { kind: "tensors", name: MODEL_FILE, sizeBytes, layout, planned: chunks } as const;
  return { file, chunks, plan, spans, partOf };
}

/** Digests of the chunks as the tensors are at this moment, computed on the calling thread. */
export function digestsNow({ chunks, plan }: TensorSource): Uint8Array[] {
  const scratch = new Uint8Array(Math.max(JOB_BYTES, CHUNK_BYTES_MAX));
  const digests: Uint8Array[] = [];
  let index = 0;
  for (const batch of batchesOf(chunks)) {
    const bytes = scratch.subarray(0, batch.sizeBytes);
    plan.copyPiece(index++, bytes);
    for (const { offset, rawBytes } of batch.chunks) {
      const at = offset - batch.offset;
      digests.push(digestOf(bytes.subarray(at, at + rawBytes)));
    }
  }
  return digests;
}

/** @throws `ERR_INVALID_ARGUMENT` for what holds no tensors */
export function entriesOf(tensors: NamedTensors): Iterable<readonly [string, Tensor]> {
  if (typeof tensors !== "object" || tensors === null) throw noTensors(tensors);
  return Symbol.iterator in tensors
    ? (tensors as Iterable<readonly [string, Tensor]>)
    : Object.entries(tensors);
}

function noTensors(given: unknown): StoreError {
  return new StoreError("ERR_INVALID_ARGUMENT", `tensors by name are wanted, not ${String(given)}`, {
    hint: 'For example { w: { dtype: "F32", shape: [2], data } }.',
  });
}

function twice(name: string): StoreError {
  return new StoreError("ERR_INVALID_ARGUMENT", `there are two tensors named ${JSON.stringify(name)}`, {
    context: { tensor: name },
    hint: "Give each its own name: only one of them could be saved.",
  });
}
