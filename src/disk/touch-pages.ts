import * as fs from "node:fs";
import { promisify } from "node:util";

const readVector = promisify(fs.readv);

/** Zeros without end, or `null` where there are none. */
let zeros: number | null | undefined;

function zerosFile(): number | null {
  if (zeros !== undefined) return zeros;
  try {
    zeros = fs.openSync("/dev/zero", "r");
  } catch {
    zeros = null;
  }
  return zeros;
}

/**
 * Has another thread touch fresh memory for the first time, by writing zeros to it. The system finds and clears a page
 * at each such touch, half a millisecond a megabyte: as long as decoding into it takes. The memory holds zeros, and may
 * be used, once the promise resolves; where it cannot be done it stays as it is, which costs time and nothing else.
 */
export async function touchPages(regions: readonly Uint8Array[]): Promise<void> {
  const file = zerosFile();
  if (file === null || regions.length === 0) return;
  await readVector(file, regions).catch(() => {});
}
