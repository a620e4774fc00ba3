export const HASH_BYTES = 16;

const C1 = 0x239b961b;
const C2 = 0xab0e9789;
const C3 = 0x38b34ae5;
const C4 = 0xa1e38b93;

const tail = new DataView(new ArrayBuffer(16));

/**
 * The 128-bit hash that links a block to the one before it: MurmurHash3_x86_128 with seed 0 by Austin Appleby
 * (public domain). It finds damage and leftovers, not forgery; the audit trail is what a forger would have to face.
 *
 * Plain arithmetic on purpose: a call into a cryptographic library costs a microsecond when hot, and ten when the
 * wait for the disk before it has emptied the caches, which is how a commit finds them.
 *
 * @param view of the block; its first `length` bytes are hashed.
 * @param target receives the 16 bytes.
 */
export function hashBlock(view: DataView, length: number, target: Uint8Array): Uint8Array {
  let h1 = 0;
  let h2 = 0;
  let h3 = 0;
  let h4 = 0;
  const whole = length & ~15;
  for (let at = 0; at < whole; at += 16) {
    h1 ^= mix(view.getUint32(at, true), C1, 15, C2);
    h1 = (Math.imul((rotate(h1, 19) + h2) | 0, 5) + 0x561ccd1b) | 0;
    h2 ^= mix(view.getUint32(at + 4, true), C2, 16, C3);
    h2 = (Math.imul((rotate(h2, 17) + h3) | 0, 5) + 0x0bcaa747) | 0;
    h3 ^= mix(view.getUint32(at + 8, true), C3, 17, C4);
    h3 = (Math.imul((rotate(h3, 15) + h4) | 0, 5) + 0x96cd1c35) | 0;
    h4 ^= mix(view.getUint32(at + 12, true), C4, 18, C1);
    h4 = (Math.imul((rotate(h4, 13) + h1) | 0, 5) + 0x32ac3b17) | 0;
  }
  for (let at = 0; at < 16; at++) tail.setUint8(at, whole + at < length ? view.getUint8(whole + at) : 0);
  h1 ^= mix(tail.getUint32(0, true), C1, 15, C2) ^ length;
  h2 ^= mix(tail.getUint32(4, true), C2, 16, C3) ^ length;
  h3 ^= mix(tail.getUint32(8, true), C3, 17, C4) ^ length;
  h4 ^= mix(tail.getUint32(12, true), C4, 18, C1) ^ length;
  h1 = (h1 + h2 + h3 + h4) | 0;
  const [f1, f2, f3, f4] = [finish(h1), finish((h2 + h1) | 0), finish((h3 + h1) | 0), finish((h4 + h1) | 0)];
  const first = (f1 + f2 + f3 + f4) | 0;
  put(target, 0, first);
  put(target, 4, f2 + first);
  put(target, 8, f3 + first);
  put(target, 12, f4 + first);
  return target;
}

/** The same of bytes by themselves. */
export function blockHash(used: Uint8Array): Uint8Array {
  const view = new DataView(used.buffer, used.byteOffset, used.byteLength);
  return hashBlock(view, used.byteLength, new Uint8Array(HASH_BYTES));
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

function mix(word: number, before: number, bits: number, after: number): number {
  return Math.imul(rotate(Math.imul(word, before), bits), after);
}

function finish(value: number): number {
  let h = value ^ (value >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}

function put(target: Uint8Array, at: number, value: number): void {
  target[at] = value;
  target[at + 1] = value >>> 8;
  target[at + 2] = value >>> 16;
  target[at + 3] = value >>> 24;
}
