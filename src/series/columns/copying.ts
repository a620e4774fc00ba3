/** Bytes that two addresses may differ by without a copy between them noticing: a page of memory. */
const PAGE_BYTES = 4096;
/** Where an `ArrayBuffer` of any size to speak of begins in its page, as the C library allocates it. */
const BUFFER_OFFSET = 16;

/**
 * An address within the page that begins at `region` to which, or from which, `bytes` are copied fastest. A copy to an
 * address a few bytes above that of its source, but for whole pages, takes twice as long and up to five times: the
 * processor takes each load for one of what was just stored. So both get the same place in their pages, as far as that can
 * be known. Room of a page more than the bytes must lie there; the address is a multiple of 16.
 */
export function besideOf(region: number, bytes: Uint8Array): number {
  const offset = (bytes.byteOffset + BUFFER_OFFSET + 15) & -16;
  return region + ((offset - region) & (PAGE_BYTES - 1));
}
