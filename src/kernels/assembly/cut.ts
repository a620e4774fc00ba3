// Content-defined cut points: the gear rolling hash of "FastCDC: a Fast and Efficient Content-Defined Chunking
// Approach for Data Deduplication" (Xia et al., USENIX ATC 2016). hash = (hash << 1) + GEAR[byte]: a byte leaves the
// 32-bit hash after 32 steps, so a cut depends on the 32 bytes before it alone.

const GEAR = memory.data(256 * 4);

/** SplitMix32 (a 32-bit splitmix, Steele et al. 2014, with the murmur3 finalizer), seeded with the constant 0. */
function fillGear(): void {
  let state: u32 = 0;
  for (let i: usize = 0; i < 256; i++) {
    state += 0x9e3779b9;
    let z = state;
    z = (z ^ (z >>> 16)) * 0x85ebca6b;
    z = (z ^ (z >>> 13)) * 0xc2b2ae35;
    store<u32>(GEAR + (i << 2), z ^ (z >>> 16));
  }
}
fillGear();

let hash: u32 = 0;

export function gearAt(index: u32): u32 {
  return load<u32>(GEAR + ((index & 255) << 2));
}

export function cutReset(): void {
  hash = 0;
}

/** Rolls over the bytes without looking for a cut. */
export function cutWarm(at: usize, end: usize): void {
  let h = hash;
  for (; at < end; at++) h = (h << 1) + load<u32>(GEAR + (<usize>load<u8>(at) << 2));
  hash = h;
}

/**
 * Rolls over the bytes from `at` to `end`; returns the address just past the byte whose hash has no bit of `mask`,
 * or 0 when there is none. The hash carries over to the next call.
 */
export function cutScan(at: usize, end: usize, mask: u32): usize {
  let h = hash;
  while (at + 4 <= end) {
    const word = load<u32>(at);
    const h1 = (h << 1) + load<u32>(GEAR + ((word & 255) << 2));
    const h2 = (h1 << 1) + load<u32>(GEAR + (((word >>> 8) & 255) << 2));
    const h3 = (h2 << 1) + load<u32>(GEAR + (((word >>> 16) & 255) << 2));
    h = (h3 << 1) + load<u32>(GEAR + ((word >>> 24) << 2));
    if (!(h1 & mask)) return at + 1;
    if (!(h2 & mask)) return at + 2;
    if (!(h3 & mask)) return at + 3;
    if (!(h & mask)) return at + 4;
    at += 4;
  }
  while (at < end) {
    h = (h << 1) + load<u32>(GEAR + (<usize>load<u8>(at) << 2));
    at++;
    if (!(h & mask)) return at;
  }
  hash = h;
  return 0;
}
