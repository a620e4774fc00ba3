import type { ChunkTarget } from "../src/chunks/decode.job.ts";
import { DECODE_JOB_BYTES, JOB_BYTES } from "../src/limits.ts";
import type { Engine } from "../src/store.ts";
import { throwIfAborted } from "./aborted.ts";
import type { ChunkRef, ManifestFile } from "./manifest-format.ts";

export interface ReadOptions {
  signal?: AbortSignal | undefined;
  onBytes?: (bytes: number) => void;
}

interface Piece {
  chunk: ChunkRef;
  /** The part of the chunk that is wanted. */
  from: number;
  to: number;
}

/** Where fewer large jobs than this fall to a worker, small ones share the work better. */
const JOBS_A_WORKER_MIN = 8;

/** Reads any range of one file of a version, decoding its chunks in parallel straight into their place. */
export class FileReader {
  readonly file: ManifestFile;
  readonly #engine: Engine;
  readonly #offsets: Float64Array;

  constructor(engine: Engine, file: ManifestFile) {
    this.#engine = engine;
    this.file = file;
    this.#offsets = new Float64Array(file.chunks.length + 1);
    file.chunks.forEach((chunk, i) => {
      this.#offsets[i + 1] = this.#offsets[i]! + chunk.rawBytes;
    });
  }

  /** Fills `target` (shared memory of `sizeBytes`, or a place in a file) with the range's bytes, each chunk verified. */
  async read(
    offset: number,
    sizeBytes: number,
    target: ChunkTarget,
    options: ReadOptions = {},
  ): Promise<void> {
    const jobsMax = this.#engine.pool.size * 2;
    const inFlight = new Set<Promise<void>>();
    let at = 0;
    try {
      for (const run of this.#runs(offset, sizeBytes)) {
        throwIfAborted(options.signal);
        const bytes = run.reduce((sum, piece) => sum + piece.to - piece.from, 0);
        const job = this.#readRun(run, part(target, at, bytes)).then(() => options.onBytes?.(bytes));
        at += bytes;
        inFlight.add(job);
        job.then(
          () => inFlight.delete(job),
          () => {},
        );
        if (inFlight.size >= jobsMax) await Promise.race(inFlight);
      }
    } finally {
      // A job must not outlive the memory it writes.
      await Promise.allSettled(inFlight);
    }
    await Promise.all(inFlight);
  }

  async #readRun(run: Piece[], target: ChunkTarget): Promise<void> {
    const [first] = run;
    if (first!.from === 0 && first!.to === first!.chunk.rawBytes) {
      return this.#engine.chunks.decode(
        run.map((piece) => piece.chunk),
        target,
      );
    }
    // A small tensor's part of a shared chunk: at most a few hundred KiB, decoded here.
    const { chunk, from, to } = first!;
    const bytes = this.#engine.chunks.reader.view(chunk.digest, chunk.rawBytes).subarray(from, to);
    if ("bytes" in target) {
      target.bytes.set(bytes);
      return;
    }
    const file = this.#engine.disk.open(target.path, { access: "write" });
    try {
      await file.write(bytes.slice(), target.offset);
    } finally {
      file.close();
    }
  }

  /** The range as runs of whole chunks, up to a job's size, and single parts of chunks. */
  *#runs(offset: number, sizeBytes: number): Iterable<Piece[]> {
    const end = offset + sizeBytes;
    // Enough jobs to keep every worker busy to the end come first.
    const isLong = sizeBytes >= DECODE_JOB_BYTES * JOBS_A_WORKER_MIN * this.#engine.pool.size;
    const jobBytes = isLong ? DECODE_JOB_BYTES : JOB_BYTES;
    let run: Piece[] = [];
    let runBytes = 0;
    for (let i = this.#chunkAt(offset); i < this.file.chunks.length && this.#offsets[i]! < end; i++) {
      const chunk = this.file.chunks[i]!;
      const from = Math.max(0, offset - this.#offsets[i]!);
      const to = Math.min(chunk.rawBytes, end - this.#offsets[i]!);
      const whole = to - from === chunk.rawBytes;
      if (run.length > 0 && (!whole || runBytes + chunk.rawBytes > jobBytes)) {
        yield run;
        run = [];
        runBytes = 0;
      }
      if (whole) {
        run.push({ chunk, from, to });
        runBytes += chunk.rawBytes;
      } else {
        yield [{ chunk, from, to }];
      }
    }
    if (run.length > 0) yield run;
  }

  /** The chunk that holds the byte at `offset`. */
  #chunkAt(offset: number): number {
    let low = 0;
    let high = this.file.chunks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#offsets[middle + 1]! <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function part(target: ChunkTarget, at: number, sizeBytes: number): ChunkTarget {
  if ("bytes" in target) return { bytes: target.bytes.subarray(at, at + sizeBytes) };
  return { path: target.path, offset: target.offset + at };
}
