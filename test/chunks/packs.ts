import { expect } from "vitest";
import { digestOf } from "../../src/chunks/digest.ts";
import { frameHeaderBytes } from "../../src/chunks/pack-format.ts";
import { type FrameToWrite, type PackWriter, placeFrame, writeFrame } from "../../src/chunks/pack-writer.ts";

/** A frame of raw chunks (encoding 0 is raw bytes), alone or with names of bases it does not use. */
export function rawFrame(
  chunks: Uint8Array[],
  options: { bases?: Uint8Array[]; depth?: number } = {},
): FrameToWrite {
  return {
    encoding: 0,
    element: 0,
    chunks: chunks.map((bytes) => ({ digest: digestOf(bytes), rawBytes: bytes.byteLength })),
    bases: options.bases ?? [],
    depth: options.depth ?? 0,
    costKiB: 1,
    payload: Buffer.concat(chunks),
  };
}

/** Appends frames and makes them durable. */
export async function writeFrames(writer: PackWriter, frames: FrameToWrite[]): Promise<void> {
  for (const frame of frames) await writer.append(frame);
  await writer.sync();
}

/** A frame as it lies at `offset` of a pack. */
export function placedFrame(frame: FrameToWrite, packId: bigint, offset: number): Buffer {
  const bytes = Buffer.alloc(
    frameHeaderBytes(frame.chunks.length, frame.bases.length) + frame.payload.byteLength,
  );
  expect(writeFrame(bytes, 0, frame)).toBe(bytes.byteLength);
  placeFrame(bytes, packId, offset);
  return bytes;
}
