import { CapturePlan } from "../src/capture/capture-plan.ts";
import { Fences } from "../src/capture/fences.ts";
import type { WorkerPool } from "../src/workers/pool.ts";
import type { TensorSource } from "./tensor-source.ts";
import {
  type PackedAnswers,
  type TouchedAnswer,
  type TouchedRequest,
  touchedJob,
  unpackAnswers,
} from "./touched.job.ts";
import type { TouchedRows } from "./touched-rows.ts";

/** Touched rows of tensors on their way out of the memory the trainer wants to write again. */
export class TouchedCapture {
  readonly fences: Fences;
  readonly copyMs = 0;
  /** What was captured, by chunk. */
  readonly answers: Promise<TouchedAnswer[]>;

  /** Every touched chunk must lie in shared memory. */
  constructor(pool: WorkerPool, source: TensorSource, { rows, chunks }: TouchedRows) {
    const plan = chunkPlan(source);
    this.fences = new Fences(plan.piecesOfPart, plan.pieces.length);
    const request: TouchedRequest = {
      table: plan.table,
      buffers: plan.buffers,
      control: this.fences.control,
      rows,
      chunks,
    };
    this.answers = this.#run(pool, request);
    this.answers.catch(() => {});
  }

  async #run(pool: WorkerPool, request: TouchedRequest): Promise<TouchedAnswer[]> {
    let found: PackedAnswers[] = [];
    try {
      found = (await pool.broadcast(touchedJob, request, (parts) =>
        this.fences.wake(parts as number[]),
      )) as PackedAnswers[];
    } catch (error) {
      this.fences.fail(error);
    }
    this.fences.settle();
    return found.flatMap(unpackAnswers).sort((a, b) => a.chunk - b.chunk);
  }
}

const plans = new WeakMap<TensorSource, CapturePlan>();

/** The tensors' memory by chunk, worked out once. */
function chunkPlan(source: TensorSource): CapturePlan {
  let plan = plans.get(source);
  if (plan === undefined) {
    const ranges = source.chunks.map(({ offset, rawBytes }) => ({ offset, sizeBytes: rawBytes }));
    plan = new CapturePlan(source.spans, ranges, source.plan.piecesOfPart.length);
    plans.set(source, plan);
  }
  return plan;
}

/** Whether worker threads see all of a source's memory. */
export function isShared(source: TensorSource): boolean {
  return source.plan.pieces.every((piece) => !piece.local);
}
