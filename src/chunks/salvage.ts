import { crc32c } from "@node-rs/crc32";
import type { Disk } from "../disk/disk.ts";
import { flipBit, flippedBit, flipUntil } from "../flipped-bit.ts";
import { SECTOR_BYTES } from "../limits.ts";
import { PackDirectory } from "./pack-directory.ts";
import { FRAME_FIXED_BYTES, frameHeaderBytes, placeSeed } from "./pack-format.ts";
import { decodeFrame, decodeFrameHeader, type Frame, PackReader } from "./pack-reader.ts";
import type { PackScan } from "./pack-scan.ts";

export interface Salvage {
  /** Frames the new pack holds. */
  frames: number;
  /** How many of them had one flipped bit, which their checksum named. */
  healed: number;
}

/** Copies everything good in a damaged pack to a new one, in its order; the damaged file is left to the caller. */
export async function salvagePack(
  disk: Disk,
  directory: string,
  storeId: Uint8Array,
  scan: PackScan,
  nowUs: bigint,
): Promise<Salvage> {
  const healed = scan.damage.flatMap((range) => {
    const frame = healFrame(disk, scan, range);
    return frame === undefined ? [] : [{ offset: range.offset, frame }];
  });
  const parts = [...scan.frames.map(({ offset, frameBytes }) => ({ offset, frameBytes })), ...healed];
  if (parts.length === 0) return { frames: 0, healed: 0 };
  parts.sort((a, b) => a.offset - b.offset);
  const reader = new PackReader(disk, directory);
  const writer = new PackDirectory(disk, directory, storeId, () => nowUs).create();
  try {
    for (const part of parts) {
      const frame =
        "frame" in part ? part.frame : reader.readFrame(scan.packId, part.offset, part.frameBytes);
      await writer.append({ ...frame.header, payload: frame.payload });
    }
    await writer.sync();
    disk.syncDirectory(directory);
  } finally {
    reader.close();
    writer.close();
  }
  return { frames: parts.length, healed: healed.length };
}

/** The frame that lies in a damaged range, if turning back one bit makes it good. */
function healFrame(disk: Disk, scan: PackScan, range: PackScan["damage"][number]): Frame | undefined {
  const bytes = Buffer.alloc(range.sizeBytes);
  const file = disk.open(scan.path, { access: "read" });
  try {
    if (file.readSync(bytes, range.offset) < FRAME_FIXED_BYTES) return undefined;
  } finally {
    file.close();
  }
  const headerAt = () => decodeFrameHeader(bytes, scan.packId, range.offset);
  const fits = () => {
    const header = headerAt();
    if (typeof header === "string") return false;
    const end = frameHeaderBytes(header.chunks.length, header.bases.length) + header.payloadBytes;
    // What one save appended ends with zeros up to the next sector: they belong to the range, not to the frame.
    return (
      end <= bytes.byteLength &&
      bytes.byteLength - end < SECTOR_BYTES &&
      bytes.subarray(end).every((byte) => byte === 0)
    );
  };
  // The header is short: each of its bits can be tried. The payload's bit is computed.
  if (!fits() && !flipUntil(bytes, HEADER_TRIED_BYTES, fits)) return undefined;
  const header = headerAt();
  if (typeof header === "string") return undefined;
  const headerBytes = frameHeaderBytes(header.chunks.length, header.bases.length);
  const payload = bytes.subarray(headerBytes, headerBytes + header.payloadBytes);
  const seed = placeSeed(scan.packId, range.offset);
  const bit = flippedBit(payload, header.payloadCrc, crc32c(payload, seed));
  if (bit !== undefined) flipBit(payload, bit);
  const frame = decodeFrame(bytes.subarray(0, headerBytes + header.payloadBytes), scan.packId, range.offset);
  return typeof frame === "string" ? undefined : frame;
}

/** Headers of frames with a few chunks and all bases: longer ones are rare and not searched. */
const HEADER_TRIED_BYTES = frameHeaderBytes(4, 8);
