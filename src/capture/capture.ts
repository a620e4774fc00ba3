import type { Disk } from "../disk/disk.ts";
import type { WorkerPool } from "../workers/pool.ts";
import type { CapturePlan } from "./capture-plan.ts";
import { CONTROL_WORDS, type DrainRequest, drainJob, finishPiece, SPOOLED, STOP } from "./drain.job.ts";
import { Fences } from "./fences.ts";
import type { KeptSpool, SpoolFile, SpoolFiles } from "./spool-files.ts";
import type { StagingPool } from "./staging-pool.ts";

export interface CaptureParts {
  plan: CapturePlan;
  pool: WorkerPool;
  disk: Disk;
  staging: StagingPool;
  spools: SpoolFiles;
  /** What the save before kept of the same tensors, if anything. */
  before: KeptSpool | undefined;
}

/** Where a captured piece's bytes are: in shared memory, or in the spool. */
export type CapturedBytes = { bytes: Uint8Array } | { path: string; offset: number };

/**
 * One save's tensors on their way out of the memory that the trainer wants to write again.
 *
 * Shared memory is drained by all worker threads at once. Memory that is not shared is copied before `begin` returns
 * when the capture fits into staging memory, else written to the spool by the operating system's I/O threads.
 */
export class Capture {
  /** Resolves when every byte has been captured; rejects when the capture failed or was stopped. */
  readonly captured: Promise<void>;
  readonly spooledBytes: number;
  /** How long copying held the calling thread. */
  copyMs = 0;
  readonly #parts: CaptureParts;
  /** Which tensors may be written again. */
  readonly fences: Fences;
  readonly #partCount: number;
  readonly #slots: number[];
  #spool: SpoolFile | undefined;
  readonly #drained: Promise<unknown>;
  #ended = false;

  private constructor(parts: CaptureParts) {
    const { plan, staging, spools, before } = parts;
    this.#parts = parts;
    this.#partCount = plan.piecesOfPart.length;
    this.fences = new Fences(plan.piecesOfPart, plan.pieces.length);
    this.#slots = staging.take(plan.pieces.length);
    const spooled = plan.pieces.length > this.#slots.length;
    this.#spool = spooled ? spools.acquire(plan.sizeBytes, before) : undefined;
    this.spooledBytes = spooled ? plan.sizeBytes : 0;
    const locals = this.#copyLocals();
    const work = [this.#drain(), ...locals.map((piece) => this.#spoolLocal(piece))];
    for (const each of work) each.catch((error: unknown) => this.fences.fail(error));
    this.#drained = Promise.allSettled(work);
    this.captured = this.#drained.then(() => this.fences.settle());
    this.captured.catch(() => {});
  }

  /** Starts to capture. From here on until they are captured, the tensors must not change. */
  static begin(parts: CaptureParts): Capture {
    return new Capture(parts);
  }

  async #drain(): Promise<void> {
    const { plan, pool, staging, disk } = this.#parts;
    if (plan.locals.length === plan.pieces.length) return;
    const request: DrainRequest = {
      table: plan.table,
      buffers: plan.buffers,
      pieces: plan.pieces.length,
      parts: this.#partCount,
      control: this.fences.control,
      staging: staging.memory,
      slotBytes: staging.slotBytes,
      slots: Int32Array.from(this.#slots.slice(this.#localSlots)),
      spoolPath: this.#spool?.path,
      ...(pool.inline ? { disk } : {}),
    };
    await pool.broadcast(drainJob, request, (whole) => this.fences.wake(whole as number[]));
  }

  #localSlots = 0;

  /** Copies what is not shared into slots, if this capture has any; returns the pieces left. */
  #copyLocals(): readonly number[] {
    const { plan, staging } = this.#parts;
    if (this.#spool !== undefined || plan.locals.length === 0) return plan.locals;
    const start = performance.now();
    for (const index of plan.locals) {
      const slot = this.#slots[this.#localSlots++]!;
      plan.copyPiece(index, staging.bytes(slot, plan.pieces[index]!.sizeBytes));
      this.#finish(index, slot + 1);
    }
    this.copyMs += performance.now() - start;
    return [];
  }

  async #spoolLocal(index: number): Promise<void> {
    const piece = this.#parts.plan.pieces[index]!;
    let at = piece.offset;
    for (const { bytes } of piece.segments) {
      if (Atomics.load(this.fences.control, STOP) !== 0) return;
      await this.#spool!.file.write(bytes, at);
      at += bytes.byteLength;
    }
    this.#finish(index, SPOOLED);
  }

  #finish(index: number, place: number): void {
    Atomics.store(this.fences.control, CONTROL_WORDS + this.#partCount + index, place);
    finishPiece(this.fences.control, this.#parts.plan.pieces[index]!.parts, (whole) =>
      this.fences.wake(whole),
    );
  }

  /** Where a captured piece is. Its memory is used again after `release`. */
  bytesOf(index: number): CapturedBytes {
    const place = this.#place(index);
    const { offset, sizeBytes } = this.#parts.plan.pieces[index]!;
    if (place === SPOOLED) return { path: this.#spool!.path, offset };
    return { bytes: this.#parts.staging.bytes(place - 1, sizeBytes) };
  }

  #place(index: number): number {
    return Atomics.load(this.fences.control, CONTROL_WORDS + this.#partCount + index);
  }

  /** Gives a piece's memory to the next capture. */
  release(index: number): void {
    const place = this.#place(index);
    if (place <= 0) return;
    const at = this.#slots.indexOf(place - 1);
    if (at < 0) return;
    this.#slots.splice(at, 1);
    this.#parts.staging.give(place - 1);
  }

  /** Leaves the spool to the next save of the same tensors, which is encoded against it; all must be captured. */
  keepSpool(): KeptSpool | undefined {
    const spool = this.#spool;
    if (spool === undefined || this.#ended) return undefined;
    this.#spool = undefined;
    const { plan, spools } = this.#parts;
    // Places and offsets alone: the plan would keep the tensors' memory as long as the file.
    const { control } = this.fences;
    const places = CONTROL_WORDS + this.#partCount;
    const kept = keptSpool(spool.path, plan, (piece) => Atomics.load(control, places + piece));
    spools.keep(kept, spool);
    return kept;
  }

  /** Gives back whatever the capture still holds, once no thread works for it any more. */
  async end(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.fences.stop();
    await this.#drained;
    for (const slot of this.#slots.splice(0)) this.#parts.staging.give(slot);
    if (this.#spool !== undefined) this.#parts.spools.release(this.#spool);
  }
}

function keptSpool(
  path: string,
  { pieces, sizeBytes }: CapturePlan,
  placeOf: (piece: number) => number,
): KeptSpool {
  const offsets = Float64Array.from(pieces, ({ offset }) => offset);
  return {
    sizeBytes,
    isGone: false,
    rangeOf(piece) {
      return !this.isGone && placeOf(piece) === SPOOLED ? { path, offset: offsets[piece]! } : undefined;
    },
  };
}
