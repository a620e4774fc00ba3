import { crc32c } from "@node-rs/crc32";
import type { DiskFile } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import { CHUNK_HEADER_BYTES, chainCrc, decodeHeader, HEADER_BYTES } from "./snapshot-format.ts";

const READ_BYTES = 512 << 10;

/** Reads a slot back and checks every checksum, a short slice at a time. @throws ERR_STORE_CORRUPT */
export async function verifySnapshot(file: DiskFile, path: string): Promise<void> {
  const page = Buffer.alloc(HEADER_BYTES);
  await file.read(page, 0);
  const header = decodeHeader(page);
  if (header === undefined) throw damaged(path, 0, "its header is not whole");
  const end = HEADER_BYTES + header.bodyBytes;
  let buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  let position = HEADER_BYTES;
  let chain = 0;
  for (let chunk = 0; chunk < header.chunks; ) {
    const got = await file.read(buffer.subarray(0, Math.min(buffer.byteLength, end - position)), position);
    let used = 0;
    while (chunk < header.chunks && got - used >= CHUNK_HEADER_BYTES) {
      const length = buffer.readUInt32LE(used);
      if (length > end - position - used - CHUNK_HEADER_BYTES) {
        throw damaged(path, position + used, "a chunk is too long");
      }
      if (got - used < CHUNK_HEADER_BYTES + length) break;
      const crc = crc32c(
        buffer.subarray(used + CHUNK_HEADER_BYTES, used + CHUNK_HEADER_BYTES + length),
        header.number,
      );
      if (crc !== buffer.readUInt32LE(used + 4))
        throw damaged(path, position + used, "a chunk's checksum fails");
      chain = chainCrc(chain, crc);
      used += CHUNK_HEADER_BYTES + length;
      chunk++;
    }
    position += used;
    if (used > 0) continue;
    if (got < buffer.byteLength) throw damaged(path, position, "it ends early");
    buffer = Buffer.allocUnsafeSlow(Math.min(buffer.byteLength * 4, end));
  }
  if (chain !== header.chunksCrc || position !== end)
    throw damaged(path, position, "its chunks do not add up");
}

export function damaged(path: string, offset: number, problem: string): StoreError {
  return new StoreError("ERR_STORE_CORRUPT", `snapshot ${path}: ${problem} (byte ${offset})`, {
    context: { path, offset, problem },
    hint: "The other slot and the log may still hold everything; run varve check.",
  });
}
