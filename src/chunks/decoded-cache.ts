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
  readonly #free = new Map<number, Uint8Array[]>();
  #retired: Uint8Array[] = [];
  #bytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Whatever was handed out before is no longer used, except through `get`. */
  beginOperation(): void {
    for (const buffer of this.#retired) {
      const sameSize = this.#free.get(buffer.byteLength);
      if (sameSize === undefined) this.#free.set(buffer.byteLength, [buffer]);
      else if (sameSize.length < FREE_PER_SIZE_MAX) sameSize.push(buffer);
    }
    this.#retired = [];
    if (this.#free.size > FREE_SIZES_MAX) this.#free.clear();
  }

  get(key: string): Uint8Array | undefined {
    const bytes = this.#entries.get(key);
    if (bytes !== undefined) {
      this.#entries.delete(key);
      this.#entries.set(key, bytes);
    }
    return bytes;
  }

  /** Memory for a chunk; what it holds is undefined. */
  allocate(sizeBytes: number): Uint8Array {
    return this.#free.get(sizeBytes)?.pop() ?? new Uint8Array(sizeBytes);
  }

  put(key: string, bytes: Uint8Array): void {
    this.#entries.set(key, bytes);
    this.#bytes += bytes.byteLength;
    for (const [oldest, old] of this.#entries) {
      if (this.#bytes <= this.#limitBytes) break;
      this.#entries.delete(oldest);
      this.#bytes -= old.byteLength;
      this.#retired.push(old);
    }
  }

  clear(): void {
    this.#entries.clear();
    this.#free.clear();
    this.#retired = [];
    this.#bytes = 0;
  }
}

/** Most chunks of a store have one of a few sizes; a collection of odd sizes is not worth keeping. */
const FREE_SIZES_MAX = 8;
const FREE_PER_SIZE_MAX = 16;
