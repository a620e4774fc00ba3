/**
 * Memory of one opening: taken from the front and never given back. It grows as long as the recovery lasts; what reads
 * from it afterwards relies on its staying where it is.
 */
let top: usize = (__heap_base + 15) & ~15;

/** Room for so many bytes, on a boundary of 16; zeros: nobody had it before, or left it as it was. */
export function take(sizeBytes: usize): usize {
  const at = top;
  top = reserve(sizeBytes);
  return at;
}

/**
 * Makes sure that the next so many bytes can be taken without the memory being moved; returns where they would end. It
 * grows by half if it can: every growth is a call to the system, and pages nobody touches cost nothing.
 */
export function reserve(sizeBytes: usize): usize {
  const end = (<u64>top + <u64>sizeBytes + 15) & ~15;
  const pages = <i32>((end + 0xffff) >> 16) - memory.size();
  if (pages > 0 && memory.grow(max(pages, memory.size() >> 1)) < 0 && memory.grow(pages) < 0) unreachable();
  return <usize>end;
}
