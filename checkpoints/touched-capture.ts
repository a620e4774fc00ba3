import { CapturePlan } from "../src/capture/capture-plan.ts";
import { Fences } from "../src/capture/fences.ts";
import { elementCode } from "../src/codec/element.ts";
import type { WorkerPool } from "../src/workers/pool.ts";
import type { TensorSource } from "./tensor-source.ts";
import { type TouchedRequest, touchedJob } from "./touched.job.ts";
import { type CapturedChunks, TouchedChunks } from "./touched-chunks.ts";
import type { TouchedRows } from "./touched-rows.ts";

/** Touched rows of tensors on their way out of the memory the trainer wants to write again. */
export class TouchedCapture {
  readonly fences: Fences;
  readonly copyMs = 0;
  /** What was captured. */
  readonly chunks: Promise<TouchedChunks>;

  /** Every touched chunk must lie in shared memory. */
  constructor(pool: WorkerPool, source: TensorSource, { rows, chunks }: TouchedRows) {
    const { plan, elements } = chunkPlan(source);
    this.fences = new Fences(plan.piecesOfPart, plan.pieces.length);
    const request: TouchedRequest = {
      table: plan.table,
      buffers: plan.buffers,
      control: this.fences.control,
      rows,
      chunks,
      elements,
    };
    this.chunks = this.#run(pool, request);
    this.chunks.catch(() => {});
  }

  async #run(pool: WorkerPool, request: TouchedRequest): Promise<TouchedChunks> {
    let found: CapturedChunks[] = [];
    try {
      found = (await pool.broadcast(touchedJob, request, (parts) =>
        this.fences.wake(parts as number[]),
      )) as CapturedChunks[];
    } catch (error) {
      this.fences.fail(error);
    }
    this.fences.settle();
    return new TouchedChunks(found);
  }
}

interface ChunkPlan {
  plan: CapturePlan;
  /** By chunk: the code of its elements, in shared memory. */
  elements: Uint8Array;
}

const plans = new WeakMap<TensorSource, ChunkPlan>();

/** The tensors' memory by chunk, worked out once. */
function chunkPlan(source: TensorSource): ChunkPlan {
  let known = plans.get(source);
  if (known === undefined) {
    const ranges = source.chunks.map(({ offset, rawBytes }) => ({ offset, sizeBytes: rawBytes }));
    const plan = new CapturePlan(source.spans, ranges, source.plan.piecesOfPart.length);
    const elements = new Uint8Array(new SharedArrayBuffer(source.chunks.length));
    elements.set(source.chunks.map(({ element }) => elementCode(element)));
    known = { plan, elements };
    plans.set(source, known);
  }
  return known;
}

/** Whether worker threads see all of a source's memory. */
export function isShared(source: TensorSource): boolean {
  return source.plan.pieces.every((piece) => !piece.local);
}
