import { blockChecksum } from "./block-checksum.ts";
import { HASH_BYTES, hashBlock } from "./block-hash.ts";

/**
 * One block of the log, little-endian. docs/formats/wal.md tells it byte by byte with a worked example.
 *
 * ```
 *   0  magic           8  "varveWAL"
 *   8  version         2  1
 *  10  kind            1  1 data, 2 open, 3 seal
 *  11  flags           1  bit 0: a mirror was dropped (open blocks)
 *  12  checksum        4  CRC-32C of the used bytes, this field holding the seed
 *  16  store id       16
 *  32  epoch           4  one more with every opening for writing
 *  36  segment blocks  4
 *  40  sequence        8  place in the log: segment ordinal × segment blocks + block of the segment
 *  48  write start     8  first sequence of the write this block came in
 *  56  durable through 8  last sequence known durable when this block was written
 *  64  log start       8  first sequence that was still needed
 *  72  first LSN       8  of the first record that begins here, or of the next record
 *  80  record count    2  records that begin here
 *  82  length          2  payload bytes
 *  84  continued       2  payload bytes that finish or carry on a record begun earlier
 *  86  zero            2
 *  88  previous hash  16  MurmurHash3_x86_128 over the used bytes of the previous block
 * 104  payload            records, one after another, across the blocks of one write
 * ```
 *
 * Used bytes are the header and the payload. All bytes after them are zero, and 0xff in an open block, which a
 * reader checks. An open block is written over the first block of a torn write: with equal padding, a second power
 * cut could leave a mixture that is that first block, whole again after recovery had cut it off.
 */
export const BLOCK_BYTES = 4096;
export const HEADER_BYTES = 104;
export const PAYLOAD_BYTES = BLOCK_BYTES - HEADER_BYTES;
const FORMAT_VERSION = 1;
export const STORE_ID_BYTES = 16;

/** A record in the payload: length of its content (4), time in µs (8), content. */
export const RECORD_HEADER_BYTES = 12;

export const KIND = { data: 1, open: 2, seal: 3 } as const;
export type BlockKind = keyof typeof KIND;

export const FLAG_MIRROR_DROPPED = 1;

const MAGIC_LOW = 0x76726176;
const MAGIC_HIGH = 0x4c415765;
const ZEROS = Buffer.alloc(BLOCK_BYTES);
const ONES = Buffer.alloc(BLOCK_BYTES, 0xff);

/** What a block says of itself. Sequences and LSNs are integers below 2^53. */
export interface BlockHeader {
  kind: BlockKind;
  flags: number;
  storeId: Uint8Array;
  epoch: number;
  segmentBlocks: number;
  sequence: number;
  writeStart: number;
  durableThrough: number;
  logStart: number;
  firstLsn: number;
  recordCount: number;
  length: number;
  continued: number;
  previousHash: Uint8Array;
}

/**
 * The checksum starts from where and when the block belongs, so that a block of another epoch or place never
 * passes, whatever its header says.
 */
function checksumSeed(epoch: number, sequence: number): number {
  const high = Math.floor(sequence / 2 ** 32);
  return (Math.imul(epoch, 0x9e3779b1) ^ Math.imul(sequence | 0, 0x85ebca77) ^ high) >>> 0;
}

export function setUint64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value >>> 0, true);
  view.setUint32(offset + 4, Math.floor(value / 2 ** 32), true);
}

export function getUint64(view: DataView, offset: number): number {
  return view.getUint32(offset + 4, true) * 2 ** 32 + view.getUint32(offset, true);
}

/** A block in memory with a view of it, made once and used for every block built there. */
export interface BlockMemory {
  bytes: Uint8Array;
  view: DataView;
  /** From here on all bytes are zero: a block like the one before it needs no padding. */
  zeroFrom: number;
}

export function blockMemory(buffer: Uint8Array, index: number): BlockMemory {
  const bytes = buffer.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES);
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, BLOCK_BYTES), zeroFrom: BLOCK_BYTES };
}

/**
 * Writes the header around a payload that is already in place, pads the rest, and puts the block's hash into
 * `hash`, which may be the header's previous one. Nothing of the block may change after this.
 */
export function sealBlock(block: BlockMemory, header: BlockHeader, hash: Uint8Array): void {
  const { bytes, view } = block;
  view.setUint32(0, MAGIC_LOW, true);
  view.setUint32(4, MAGIC_HIGH, true);
  view.setUint16(8, FORMAT_VERSION, true);
  view.setUint8(10, KIND[header.kind]);
  view.setUint8(11, header.flags);
  view.setUint32(12, checksumSeed(header.epoch, header.sequence), true);
  bytes.set(header.storeId, 16);
  view.setUint32(32, header.epoch, true);
  view.setUint32(36, header.segmentBlocks, true);
  setUint64(view, 40, header.sequence);
  setUint64(view, 48, header.writeStart);
  setUint64(view, 56, header.durableThrough);
  setUint64(view, 64, header.logStart);
  setUint64(view, 72, header.firstLsn);
  view.setUint16(80, header.recordCount, true);
  view.setUint16(82, header.length, true);
  view.setUint16(84, header.continued, true);
  view.setUint16(86, 0, true);
  bytes.set(header.previousHash, 88);
  const end = HEADER_BYTES + header.length;
  if (header.kind === "open") bytes.fill(0xff, end);
  else if (end < block.zeroFrom) bytes.fill(0, end, block.zeroFrom);
  block.zeroFrom = header.kind === "open" ? BLOCK_BYTES : end;
  view.setUint32(12, blockChecksum(bytes, view, end), true);
  hashBlock(view, end, hash);
}

/** Why bytes are not the block that belongs at a place. */
export type BlockFault =
  /** Never written. */
  | "empty"
  /** A whole block, but of another place: recycled, or written astray. */
  | "stale"
  /** A whole block of another store. */
  | "foreign"
  /** A whole block of a later format version. */
  | "version"
  /** Anything else: torn, rotten or garbage. */
  | "damaged";

export type DecodedBlock =
  | { fault?: undefined; header: BlockHeader; used: Uint8Array; payload: Uint8Array }
  | { fault: BlockFault };

/** Checks everything a block can prove by itself; whether it links to the one before it is the reader's question. */
export function decodeBlock(bytes: Uint8Array, sequence: number, storeId?: Uint8Array): DecodedBlock {
  const view = new DataView(bytes.buffer, bytes.byteOffset, BLOCK_BYTES);
  if (view.getUint32(0, true) !== MAGIC_LOW || view.getUint32(4, true) !== MAGIC_HIGH) {
    return { fault: ZEROS.compare(bytes) === 0 ? "empty" : "damaged" };
  }
  const length = view.getUint16(82, true);
  const own = getUint64(view, 40);
  const end = HEADER_BYTES + length;
  if (length > PAYLOAD_BYTES || !checksumHolds(bytes, view, end, own)) return { fault: "damaged" };
  if (own !== sequence) return { fault: "stale" };
  if (view.getUint16(8, true) !== FORMAT_VERSION) return { fault: "version" };
  const header = readHeader(bytes, view);
  if (header === undefined) return { fault: "damaged" };
  const padding = header.kind === "open" ? ONES : ZEROS;
  if (padding.compare(bytes, end, BLOCK_BYTES, 0, BLOCK_BYTES - end) !== 0) return { fault: "damaged" };
  if (storeId !== undefined && !sameBytes(header.storeId, storeId)) return { fault: "foreign" };
  return { header, used: bytes.subarray(0, end), payload: bytes.subarray(HEADER_BYTES, end) };
}

function checksumHolds(bytes: Uint8Array, view: DataView, end: number, sequence: number): boolean {
  const stored = view.getUint32(12, true);
  view.setUint32(12, checksumSeed(view.getUint32(32, true), sequence), true);
  const computed = blockChecksum(bytes, view, end);
  view.setUint32(12, stored, true);
  return computed === stored;
}

function readHeader(bytes: Uint8Array, view: DataView): BlockHeader | undefined {
  const code = view.getUint8(10);
  const kind =
    code === KIND.data ? "data" : code === KIND.open ? "open" : code === KIND.seal ? "seal" : undefined;
  const header = {
    flags: view.getUint8(11),
    storeId: bytes.subarray(16, 32),
    epoch: view.getUint32(32, true),
    segmentBlocks: view.getUint32(36, true),
    sequence: getUint64(view, 40),
    writeStart: getUint64(view, 48),
    durableThrough: getUint64(view, 56),
    logStart: getUint64(view, 64),
    firstLsn: getUint64(view, 72),
    recordCount: view.getUint16(80, true),
    length: view.getUint16(82, true),
    continued: view.getUint16(84, true),
    previousHash: bytes.subarray(88, 88 + HASH_BYTES),
  };
  const sound =
    kind !== undefined &&
    header.writeStart <= header.sequence &&
    header.durableThrough < header.writeStart &&
    header.logStart <= header.sequence &&
    header.continued <= header.length &&
    view.getUint16(86, true) === 0;
  return sound ? { kind, ...header } : undefined;
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && Buffer.compare(a, b) === 0;
}

/**
 * What an open block says: the chain before it ends at `lastSequence`, and whatever older epochs left behind from
 * here on does not count.
 *
 * ```
 *  0  open id        16  random, so that two openings of one state never make the same chain
 * 16  opened at       8  µs since the Unix epoch, by the wall clock
 * 24  last sequence   8  last good block
 * 32  last LSN        8  last good record
 * 40  last hash      16  of the last good block
 * ```
 */
export const OPEN_PAYLOAD_BYTES = 56;

export interface OpenBlock {
  openId: Uint8Array;
  openedUs: bigint;
  lastSequence: number;
  lastLsn: number;
  lastHash: Uint8Array;
}

export function encodeOpenPayload(open: OpenBlock, target: Uint8Array): void {
  const view = new DataView(target.buffer, target.byteOffset, OPEN_PAYLOAD_BYTES);
  target.set(open.openId, 0);
  view.setBigUint64(16, open.openedUs, true);
  setUint64(view, 24, open.lastSequence);
  setUint64(view, 32, open.lastLsn);
  target.set(open.lastHash, 40);
}

export function decodeOpenPayload(payload: Uint8Array): OpenBlock | undefined {
  if (payload.byteLength !== OPEN_PAYLOAD_BYTES) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset, OPEN_PAYLOAD_BYTES);
  return {
    openId: payload.subarray(0, 16),
    openedUs: view.getBigUint64(16, true),
    lastSequence: getUint64(view, 24),
    lastLsn: getUint64(view, 32),
    lastHash: payload.subarray(40, 56),
  };
}
