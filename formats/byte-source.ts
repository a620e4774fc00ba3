/** A file's bytes at any place: how a format module that must look around in a file reads it, without a disk. */
export interface ByteSource {
  readonly sizeBytes: number;
  /** Exactly these bytes, fewer only where the file ends. They are not written again by the source. */
  read(offset: number, sizeBytes: number): Uint8Array;
}

/** Bytes that are in memory already. */
export function sourceOf(bytes: Uint8Array): ByteSource {
  return {
    sizeBytes: bytes.byteLength,
    read: (offset, sizeBytes) => bytes.subarray(offset, offset + sizeBytes),
  };
}
