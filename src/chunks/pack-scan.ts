import type { Disk } from "../disk/disk.ts";
import { SECTOR_BYTES } from "../limits.ts";
import {
  FRAME_FIXED_BYTES,
  FRAME_MAGIC,
  type FrameHeader,
  frameHeaderBytes,
  PACK_HEADER_BYTES,
  packFileName,
  SEAL_BYTES,
} from "./pack-format.ts";
import {
  checkPackHeader,
  decodeFrame,
  decodeFrameHeader,
  FRAME_HEADER_BYTES_MAX,
  isSeal,
} from "./pack-reader.ts";

export interface ScannedFrame {
  offset: number;
  frameBytes: number;
  header: FrameHeader;
}

export interface PackDamage {
  offset: number;
  sizeBytes: number;
  what: string;
}

export interface PackScan {
  packId: bigint;
  path: string;
  sizeBytes: number;
  frames: ScannedFrame[];
  /** Ranges that are no good frame. The tail of an unsealed pack that was being written may be one. */
  damage: PackDamage[];
  sealed: boolean;
  /** Where the last good frame and its padding end: an adopter goes on from here. */
  goodBytes: number;
}

export interface ScanOptions {
  /** Read and check payloads too, not just headers. */
  readData?: boolean;
  /** Start at a frame boundary past the header, for the tail of a pack whose beginning is known. */
  fromOffset?: number;
  onProgress?: (bytes: number) => void;
}

/**
 * Walks a pack from frame to frame. Where a frame is damaged it looks for the next good one, byte by byte:
 * a frame's checksum is seeded with its place, so what is found is really a frame of this pack.
 */
export function scanPack(
  disk: Disk,
  directory: string,
  packId: bigint,
  storeId: Uint8Array,
  options: ScanOptions = {},
): PackScan {
  const path = `${directory}/${packFileName(packId)}`;
  const file = disk.open(path, { access: "read" });
  try {
    const sizeBytes = file.sizeBytes();
    const read = (offset: number, bytes: number): Uint8Array => {
      const buffer = Buffer.allocUnsafeSlow(Math.max(0, Math.min(bytes, sizeBytes - offset)));
      return buffer.subarray(0, file.readSync(buffer, offset));
    };
    const scan: PackScan = { packId, path, sizeBytes, frames: [], damage: [], sealed: false, goodBytes: 0 };
    const headerDamage = checkPackHeader(read(0, PACK_HEADER_BYTES), packId, storeId);
    if (headerDamage !== undefined) {
      scan.damage.push({
        offset: 0,
        sizeBytes: Math.min(PACK_HEADER_BYTES, sizeBytes),
        what: `pack header: ${headerDamage}`,
      });
    }
    let offset = options.fromOffset ?? PACK_HEADER_BYTES;
    scan.goodBytes = Math.min(offset, sizeBytes);
    while (offset < sizeBytes) {
      if (sizeBytes - offset === SEAL_BYTES && isSeal(read(offset, SEAL_BYTES), packId, offset)) {
        scan.sealed = true;
        break;
      }
      const found = frameAt(read, packId, offset, options.readData ?? false);
      if (typeof found === "string") {
        const paddingBytes = offset === scan.goodBytes ? paddingAt(read, offset) : 0;
        if (paddingBytes > 0) {
          offset += paddingBytes;
          scan.goodBytes = offset;
          continue;
        }
        const next = nextFrame(read, packId, offset + 1, sizeBytes);
        scan.damage.push({ offset, sizeBytes: next - offset, what: `frame: ${found}` });
        offset = next;
        continue;
      }
      scan.frames.push(found);
      offset += found.frameBytes;
      scan.goodBytes = offset;
      options.onProgress?.(offset);
    }
    return scan;
  } finally {
    file.close();
  }
}

/** Bytes of zeros from `offset` to the end of its sector, or 0 when there is anything else or less. */
function paddingAt(read: Read, offset: number): number {
  const bytes = read(offset, (SECTOR_BYTES - (offset % SECTOR_BYTES)) % SECTOR_BYTES);
  const whole = (offset + bytes.byteLength) % SECTOR_BYTES === 0;
  return whole && bytes.every((byte) => byte === 0) ? bytes.byteLength : 0;
}

type Read = (offset: number, bytes: number) => Uint8Array;

/** A first read that takes most headers whole; wide ones are read again. */
const HEADER_GUESS_BYTES = frameHeaderBytes(1, 8);

function frameAt(read: Read, packId: bigint, offset: number, readData: boolean): ScannedFrame | string {
  let header = decodeFrameHeader(read(offset, HEADER_GUESS_BYTES), packId, offset);
  if (header === "truncated")
    header = decodeFrameHeader(read(offset, FRAME_HEADER_BYTES_MAX), packId, offset);
  if (typeof header === "string") return header;
  const frameBytes = frameHeaderBytes(header.chunks.length, header.bases.length) + header.payloadBytes;
  if (readData) {
    const frame = decodeFrame(read(offset, frameBytes), packId, offset);
    if (typeof frame === "string") return frame;
  } else if (read(offset + frameBytes - 1, 1).byteLength === 0 && frameBytes > 0) {
    return "truncated";
  }
  return { offset, frameBytes, header };
}

/** The offset of the next good frame or seal at or after `from`, or the end of the pack. */
function nextFrame(read: Read, packId: bigint, from: number, sizeBytes: number): number {
  const windowBytes = 1 << 20;
  const magic = Buffer.alloc(4);
  magic.writeUInt32LE(FRAME_MAGIC, 0);
  for (let at = from; at < sizeBytes; at += windowBytes - FRAME_FIXED_BYTES) {
    const window = Buffer.from(read(at, windowBytes));
    for (let i = window.indexOf(magic); i >= 0; i = window.indexOf(magic, i + 1)) {
      const header = decodeFrameHeader(read(at + i, FRAME_HEADER_BYTES_MAX), packId, at + i);
      if (typeof header !== "string") return at + i;
    }
  }
  const seal = sizeBytes - SEAL_BYTES;
  return seal >= from && isSeal(read(seal, SEAL_BYTES), packId, seal) ? seal : sizeBytes;
}
