/** Memory that is used again: fresh memory costs as much to touch for the first time as decoding into it takes. */
export class ScratchBuffers {
  readonly #free: Uint8Array[] = [];

  take(sizeBytes: number): Uint8Array {
    const at = this.#free.findIndex(({ byteLength }) => byteLength >= sizeBytes);
    if (at < 0) return new Uint8Array(sizeBytes);
    const [found] = this.#free.splice(at, 1);
    return found!.subarray(0, sizeBytes);
  }

  /** Takes memory back that nobody uses any more. */
  give(bytes: Uint8Array): void {
    this.#free.push(new Uint8Array(bytes.buffer as ArrayBuffer));
  }
}
