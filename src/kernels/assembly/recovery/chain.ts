// The log's blocks, checked one after the other: docs/formats/wal.md and src/wal/format.ts say what is where. This takes
// only what needs no judgement: data and seal blocks that are whole and follow from the one before. At anything
// else it stops, and the caller decides what it is.
const BLOCK_BYTES: usize = 4096;
const HEADER_BYTES: u32 = 104;
const PAYLOAD_BYTES: u32 = 3992;
const MAGIC: u64 = 0x4c41576576726176;
const FORMAT_VERSION: u32 = 1;
const KIND_DATA: u32 = 1;
const KIND_SEAL: u32 = 3;
/** Blocks looked at in one go. */
const BATCH_BLOCKS: i32 = 64;

/** How far the chain was followed; `nextLsn` 0: not known, `epoch` 0: no block yet, `hashKnown` 0: no hash yet. */
const state: usize = memory.data(72, 16);
const NEXT_SEQUENCE: usize = 0;
const NEXT_LSN: usize = 8;
const DURABLE_THROUGH: usize = 16;
const LOG_START: usize = 24;
const EPOCH: usize = 32;
const HASH_KNOWN: usize = 36;
const HASH: usize = 40;
/** Refuses blocks of another store when the last word is not 0. */
const STORE_ID: usize = 56;

const checksums: usize = memory.data(64 * 4, 16);
const lengths: usize = memory.data(64 * 4, 16);
const computed: usize = memory.data(64 * 4, 16);
let storeKnown: bool = false;

/** Up to here the caller's call would cost more than the loop below. */
const SHORT_BYTES: u32 = 1024;
/** The reversed polynomial of Castagnoli, Bräuer and Herrmann (1993). */
const POLYNOMIAL: u32 = 0x82f63b78;
/** Remainders of each byte with 0 to 7 bytes behind it: slicing by eight (Kounavis and Berry, Intel, 2005). */
const remainders: usize = memory.data(8 * 256 * 4, 16);
let remaindersMade: bool = false;

export function chainState(): usize {
  return state;
}

export function chainOfStore(known: bool): void {
  storeKnown = known;
}

export function blockLengths(): usize {
  return lengths;
}

export function blockChecksums(): usize {
  return computed;
}

/**
 * Puts the seeds where the checksums are, for as many blocks as look like blocks; returns how many. The caller writes the
 * CRC-32C of the first `lengths[i]` bytes of each to `computed[i]`, where the length is not 0, and calls `followBlocks`.
 */
export function seedBlocks(at: usize, count: i32): i32 {
  if (count > BATCH_BLOCKS) count = BATCH_BLOCKS;
  let i = 0;
  for (; i < count; i++, at += BLOCK_BYTES) {
    if (load<u64>(at) != MAGIC) break;
    const length = <u32>load<u16>(at, 82);
    if (length > PAYLOAD_BYTES) break;
    const place = <usize>i << 2;
    store<u32>(checksums + place, load<u32>(at, 12));
    store<u32>(at, seedOf(load<u32>(at, 32), load<u64>(at, 40)), 12);
    const used = HEADER_BYTES + length;
    if (used <= SHORT_BYTES) store<u32>(computed + place, checksumOf(at, used));
    store<u32>(lengths + place, used <= SHORT_BYTES ? 0 : used);
  }
  return i;
}

/**
 * How many of the next blocks cannot belong where they are: blank ones, and short ones that are whole but of another
 * place. Behind the log's end these are what a new or a recycled segment consists of. The first one is of `sequence`'s place.
 */
export function passBlocks(at: usize, count: i32, sequence: f64): i32 {
  for (let i = 0; i < count; i++, at += BLOCK_BYTES) {
    if (load<u64>(at) == 0 ? !isBlank(at, at + BLOCK_BYTES) : !isStale(at, <u64>sequence + <u64>i)) return i;
  }
  return count;
}

function isStale(at: usize, sequence: u64): bool {
  const used = HEADER_BYTES + <u32>load<u16>(at, 82);
  if (load<u64>(at) != MAGIC || used > SHORT_BYTES || load<u64>(at, 40) == sequence) return false;
  const checksum = load<u32>(at, 12);
  store<u32>(at, seedOf(load<u32>(at, 32), load<u64>(at, 40)), 12);
  const computed = checksumOf(at, used);
  store<u32>(at, checksum, 12);
  return computed == checksum;
}

function seedOf(epoch: u32, sequence: u64): u32 {
  return (epoch * 0x9e3779b1) ^ (<u32>sequence * 0x85ebca77) ^ <u32>(sequence >> 32);
}

/** CRC-32C, eight bytes at a time. */
function checksumOf(at: usize, sizeBytes: u32): u32 {
  if (!remaindersMade) makeRemainders();
  let crc: u32 = 0xffffffff;
  const end = at + sizeBytes;
  for (; at + 8 <= end; at += 8) {
    const low = crc ^ load<u32>(at);
    const high = load<u32>(at, 4);
    crc =
      remainderOf(7, low & 0xff) ^
      remainderOf(6, (low >> 8) & 0xff) ^
      remainderOf(5, (low >> 16) & 0xff) ^
      remainderOf(4, low >> 24) ^
      remainderOf(3, high & 0xff) ^
      remainderOf(2, (high >> 8) & 0xff) ^
      remainderOf(1, (high >> 16) & 0xff) ^
      remainderOf(0, high >> 24);
  }
  for (; at < end; at++) crc = remainderOf(0, (crc ^ <u32>load<u8>(at)) & 0xff) ^ (crc >> 8);
  return ~crc;
}

// @ts-ignore: decorator
@inline
function remainderOf(behind: u32, byte: u32): u32 {
  return load<u32>(remainders + (<usize>((behind << 8) | byte) << 2));
}

function makeRemainders(): void {
  for (let byte: u32 = 0; byte < 256; byte++) {
    let remainder = byte;
    for (let bit = 0; bit < 8; bit++) remainder = (remainder >> 1) ^ ((remainder & 1) == 0 ? 0 : POLYNOMIAL);
    store<u32>(remainders + (<usize>byte << 2), remainder);
  }
  for (let at: u32 = 256; at < 8 * 256; at++) {
    const before = load<u32>(remainders + (<usize>(at - 256) << 2));
    store<u32>(remainders + (<usize>at << 2), (before >> 8) ^ remainderOf(0, before & 0xff));
  }
  remaindersMade = true;
}

/**
 * Moves what is used of blocks to a place before them, one behind the other; returns where they end. A log of single
 * commits is nearly all padding, and touching memory for the first time is what most of reading it costs.
 */
export function keepBlocks(at: usize, count: i32, to: usize): usize {
  for (let i = 0; i < count; i++, at += BLOCK_BYTES) {
    const sizeBytes = keptBytes(at);
    memory.copy(to, at, sizeBytes);
    to += sizeBytes;
  }
  return to;
}

/** Bytes of a block that are used, so many more that the next one begins on a boundary of 16. */
export function keptBytes(block: usize): usize {
  return (<usize>HEADER_BYTES + <usize>load<u16>(block, 82) + 15) & ~15;
}

/** Puts the checksums back and takes the blocks that continue the chain; returns how many. */
export function followBlocks(at: usize, count: i32): i32 {
  for (let i = 0; i < count; i++) {
    store<u32>(at + <usize>i * BLOCK_BYTES, load<u32>(checksums + (<usize>i << 2)), 12);
  }
  for (let i = 0; i < count; i++, at += BLOCK_BYTES) {
    const place = <usize>i << 2;
    if (load<u32>(checksums + place) != load<u32>(computed + place)) return i;
    if (!isSound(at) || !follows(at)) return i;
    advance(at);
  }
  return count;
}

/** What a block proves by itself, its checksum apart; an open block is the caller's business. */
function isSound(at: usize): bool {
  const sequence = load<u64>(at, 40);
  if (sequence != load<u64>(state, NEXT_SEQUENCE)) return false;
  if (load<u16>(at, 8) != FORMAT_VERSION) return false;
  const kind = <u32>load<u8>(at, 10);
  if (kind != KIND_DATA && kind != KIND_SEAL) return false;
  const writeStart = load<u64>(at, 48);
  if (writeStart > sequence || load<u64>(at, 56) >= writeStart) return false;
  if (load<u64>(at, 64) > sequence) return false;
  const length = <u32>load<u16>(at, 82);
  if (<u32>load<u16>(at, 84) > length || load<u16>(at, 86) != 0) return false;
  if (storeKnown) {
    if (load<u64>(at, 16) != load<u64>(state, STORE_ID)) return false;
    if (load<u64>(at, 24) != load<u64>(state, STORE_ID + 8)) return false;
  }
  return isBlank(at + HEADER_BYTES + length, at + BLOCK_BYTES);
}

function isBlank(from: usize, end: usize): bool {
  while ((from & 7) != 0) if (load<u8>(from++) != 0) return false;
  let all: u64 = 0;
  for (; from < end; from += 8) all |= load<u64>(from);
  return all == 0;
}

function follows(at: usize): bool {
  if (load<u32>(state, HASH_KNOWN) != 0) {
    if (load<u64>(at, 88) != load<u64>(state, HASH)) return false;
    if (load<u64>(at, 96) != load<u64>(state, HASH + 8)) return false;
  }
  const epoch = load<u32>(state, EPOCH);
  const own = load<u32>(at, 32);
  if (own == 0 || (epoch != 0 && own != epoch)) return false;
  if (load<u64>(at, 64) < load<u64>(state, LOG_START)) return false;
  const nextLsn = load<u64>(state, NEXT_LSN);
  return nextLsn == 0 || load<u64>(at, 72) == nextLsn;
}

function advance(at: usize): void {
  store<u64>(state, load<u64>(at, 40) + 1, NEXT_SEQUENCE);
  store<u64>(state, load<u64>(at, 72) + <u64>load<u16>(at, 80), NEXT_LSN);
  store<u64>(state, max(load<u64>(state, DURABLE_THROUGH), load<u64>(at, 56)), DURABLE_THROUGH);
  store<u64>(state, load<u64>(at, 64), LOG_START);
  store<u32>(state, load<u32>(at, 32), EPOCH);
  store<u32>(state, 1, HASH_KNOWN);
  hashInto(state + HASH, at, HEADER_BYTES + <u32>load<u16>(at, 82));
}

/** MurmurHash3_x86_128 by Austin Appleby (public domain), as src/wal/block-hash.ts has it. */
function hashInto(target: usize, at: usize, length: u32): void {
  let h1: u32 = 0;
  let h2: u32 = 0;
  let h3: u32 = 0;
  let h4: u32 = 0;
  const end = at + (length & ~15);
  for (; at < end; at += 16) {
    h1 ^= rotl<u32>(load<u32>(at) * 0x239b961b, 15) * 0xab0e9789;
    h1 = (rotl<u32>(h1, 19) + h2) * 5 + 0x561ccd1b;
    h2 ^= rotl<u32>(load<u32>(at, 4) * 0xab0e9789, 16) * 0x38b34ae5;
    h2 = (rotl<u32>(h2, 17) + h3) * 5 + 0x0bcaa747;
    h3 ^= rotl<u32>(load<u32>(at, 8) * 0x38b34ae5, 17) * 0xa1e38b93;
    h3 = (rotl<u32>(h3, 15) + h4) * 5 + 0x96cd1c35;
    h4 ^= rotl<u32>(load<u32>(at, 12) * 0xa1e38b93, 18) * 0x239b961b;
    h4 = (rotl<u32>(h4, 13) + h1) * 5 + 0x32ac3b17;
  }
  const rest = length & 15;
  h1 ^= (rotl<u32>(wordOf(at, rest, 0) * 0x239b961b, 15) * 0xab0e9789) ^ length;
  h2 ^= (rotl<u32>(wordOf(at, rest, 4) * 0xab0e9789, 16) * 0x38b34ae5) ^ length;
  h3 ^= (rotl<u32>(wordOf(at, rest, 8) * 0x38b34ae5, 17) * 0xa1e38b93) ^ length;
  h4 ^= (rotl<u32>(wordOf(at, rest, 12) * 0xa1e38b93, 18) * 0x239b961b) ^ length;
  h1 += h2 + h3 + h4;
  h2 = finished(h2 + h1);
  h3 = finished(h3 + h1);
  h4 = finished(h4 + h1);
  h1 = finished(h1) + h2 + h3 + h4;
  store<u32>(target, h1);
  store<u32>(target, h2 + h1, 4);
  store<u32>(target, h3 + h1, 8);
  store<u32>(target, h4 + h1, 12);
}

/** Four of the last bytes, zeros behind them. */
function wordOf(at: usize, rest: u32, from: u32): u32 {
  let word: u32 = 0;
  for (let i = from; i < min(rest, from + 4); i++) word |= <u32>load<u8>(at + i) << ((i - from) << 3);
  return word;
}

function finished(h: u32): u32 {
  h ^= h >> 16;
  h *= 0x85ebca6b;
  h ^= h >> 13;
  h *= 0xc2b2ae35;
  return h ^ (h >> 16);
}

