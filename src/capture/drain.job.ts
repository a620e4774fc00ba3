import type { Disk, DiskFile } from "../disk/disk.ts";
import { realDisk } from "../disk/real-disk.ts";
import type { Job } from "../workers/job.ts";
import { PIECE_FIELDS, SEGMENT_FIELDS } from "./capture-plan.ts";

/**
 * Copies pieces of tensors out of the memory a trainer goes on writing: into the staging slots given for this
 * capture, and, when those are used up, into the spool file. Every thread runs it at once and takes piece after piece,
 * so that nothing depends on the calling thread, which may be busy computing.
 */
export const drainJob: Job = { url: import.meta.url, name: "drainPieces" };

/** Places in the control words; the parts' counts and the pieces' places follow. */
export const NEXT_PIECE = 0;
export const STOP = 1;
export const PIECES_LEFT = 2;
export const NEXT_SLOT = 3;
export const CONTROL_WORDS = 4;

/** Where a piece went: the spool, or staging slot `place - 1`; 0 as long as it is not captured. */
export const SPOOLED = -1;

export interface DrainRequest {
  table: Float64Array;
  buffers: SharedArrayBuffer[];
  pieces: number;
  parts: number;
  control: Int32Array;
  staging: Uint8Array;
  slotBytes: number;
  /** Slots this capture may fill, in order. */
  slots: Int32Array;
  spoolPath: string | undefined;
  /** Where the spool is; given only to a job on the calling thread. */
  disk?: Disk;
}

/** Reports the parts that have become whole, as soon as they are. */
export async function drainPieces(
  request: DrainRequest,
  report: (parts: number[]) => void = () => {},
): Promise<void> {
  const { table, pieces, control } = request;
  let spool: DiskFile | undefined;
  try {
    for (;;) {
      const piece = Atomics.add(control, NEXT_PIECE, 1);
      if (piece >= pieces || Atomics.load(control, STOP) !== 0) return;
      const [offset, sizeBytes, first, count, local] = table.subarray(piece * PIECE_FIELDS);
      if (local === 1) continue;
      const segments = table.subarray(pieces * PIECE_FIELDS + first! * SEGMENT_FIELDS);
      const slot = takeSlot(request);
      if (slot === undefined) {
        spool ??= (request.disk ?? realDisk).open(request.spoolPath!, { access: "write" });
        writePiece(request, segments, count!, spool, offset!);
        Atomics.store(control, CONTROL_WORDS + request.parts + piece, SPOOLED);
      } else {
        const target = request.staging.subarray(
          slot * request.slotBytes,
          slot * request.slotBytes + sizeBytes!,
        );
        copySegments(request, segments, count!, target);
        Atomics.store(control, CONTROL_WORDS + request.parts + piece, slot + 1);
      }
      finishPiece(control, partsOf(segments, count!), report);
    }
  } catch (error) {
    // The other threads need not go on with what has failed.
    Atomics.store(control, STOP, 1);
    throw error;
  } finally {
    spool?.close();
  }
}

function takeSlot({ control, slots }: DrainRequest): number | undefined {
  if (Atomics.load(control, NEXT_SLOT) >= slots.length) return undefined;
  return slots[Atomics.add(control, NEXT_SLOT, 1)];
}

function segmentBytes({ buffers }: DrainRequest, segments: Float64Array, index: number): Uint8Array {
  const at = index * SEGMENT_FIELDS;
  return new Uint8Array(buffers[segments[at]!]!, segments[at + 1]!, segments[at + 2]!);
}

function copySegments(
  request: DrainRequest,
  segments: Float64Array,
  count: number,
  target: Uint8Array,
): void {
  let at = 0;
  for (let i = 0; i < count; i++) {
    const bytes = segmentBytes(request, segments, i);
    target.set(bytes, at);
    at += bytes.byteLength;
  }
}

function writePiece(
  request: DrainRequest,
  segments: Float64Array,
  count: number,
  spool: DiskFile,
  offset: number,
): void {
  let at = offset;
  for (let i = 0; i < count; i++) {
    const bytes = segmentBytes(request, segments, i);
    spool.writeSync(bytes, at);
    at += bytes.byteLength;
  }
}

function partsOf(segments: Float64Array, count: number): number[] {
  const parts: number[] = [];
  for (let i = 0; i < count; i++) {
    const part = segments[i * SEGMENT_FIELDS + 3]!;
    if (part >= 0) parts.push(part);
  }
  return parts;
}

/** Counts a captured piece off its parts, and reports those that have become whole. */
export function finishPiece(control: Int32Array, parts: number[], report: (parts: number[]) => void): void {
  const whole = parts.filter((part) => Atomics.sub(control, CONTROL_WORDS + part, 1) === 1);
  const last = Atomics.sub(control, PIECES_LEFT, 1) === 1;
  if (whole.length > 0 || last) report(whole);
}
