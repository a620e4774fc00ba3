import { digestOf } from "../../src/chunks/digest.ts";
import type { FrameToWrite, PackWriter } from "../../src/chunks/pack-writer.ts";

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
