export interface DecodedCacheStats {
  hits: number;
  misses: number;
  usedBytes: number;
  limitBytes: number;
}

/**
 * Decoded chunks of one reader, least recently used first out, in memory that is used again.
 *
 * Buffers of a chunk's size come and go by the thousand; left to the garbage collector, they pile up on every thread
 * far beyond the cache's own bound. A buffer that leaves the cache may still be in use by the operation that pushed
 * it out, so it is handed out again only after the next operation has begun.
 */
export class DecodedCache {
  readonly #limitBytes: number;
  readonly #entries = new Map<string, Uint8Array>();
  /** Memory to hand out again. */
  readonly #free: ArrayBuffer[] = [];
  #retired: ArrayBuffer[] = [];
  #bytes = 0;
  #hits = 0;
  #misses = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Whatever was handed out before is no longer used, except through `get`. */
  beginOperation(): void {
    this.#free.push(...this.#retired.splice(0));
    this.#free.splice(FREE_MAX);
  }

  get(key: string): Uint8Array | undefined {
    const bytes = this.#entries.get(key);
    if (bytes === undefined) this.#misses += 1;
    else {
      this.#hits += 1;
      this.#entries.delete(key);
      this.#entries.set(key, bytes);
    }
    return bytes;
  }

  /** Memory for a chunk; what it holds is undefined. */
  allocate(sizeBytes: number): Uint8Array {
    const bufferBytes = bufferBytesFor(sizeBytes);
    const at = this.#free.findLastIndex((buffer) => buffer.byteLength === bufferBytes);
    const buffer = at < 0 ? new ArrayBuffer(bufferBytes) : this.#free.splice(at, 1)[0]!;
    return new Uint8Array(buffer, 0, sizeBytes);
  }

  /** Keeps what `allocate` gave and the caller has filled. */
  put(key: string, bytes: Uint8Array): void {
    this.#entries.set(key, bytes);
    this.#bytes += bytes.buffer.byteLength;
    for (const [oldest, old] of this.#entries) {
      if (this.#bytes <= this.#limitBytes) break;
      this.#entries.delete(oldest);
      this.#bytes -= old.buffer.byteLength;
      this.#retired.push(old.buffer as ArrayBuffer);
    }
  }

  stats(): DecodedCacheStats {
    return { hits: this.#hits, misses: this.#misses, usedBytes: this.#bytes, limitBytes: this.#limitBytes };
  }

  clear(): void {
    this.#entries.clear();
    this.#free.splice(0);
    this.#retired = [];
    this.#bytes = 0;
  }
}

/**
 * Buffers come in powers of two, so that one serves all chunks of about its size; whole chunks of tensors fit exactly. A
 * node of a manifest takes a few KiB, and a hundred of them, decoded while a save looks for its parent, no megabytes.
 */
function bufferBytesFor(sizeBytes: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(sizeBytes, BUFFER_BYTES_MIN)));
}

const BUFFER_BYTES_MIN = 4096;

/** Buffers kept for later: about as many as one operation pushes out of the cache. */
const FREE_MAX = 8;
