import { SAFETENSORS_HEADER_BYTES_MAX } from "../src/limits.ts";
import { LENGTH_BYTES, OPEN_BRACE } from "./safetensors/format.ts";

export type DetectedFormat = "safetensors" | "opaque";

/**
 * How to read a file.
 *
 * A file named `*.safetensors` (in any case) always is safetensors, so that a malformed one is refused instead of
 * stored as bytes nobody can load. Any other name is sniffed: a plausible header length followed by `{`. That is
 * a guess about a file that never claimed to be one, so when the strict parse of a *sniffed* file fails, treat it
 * as opaque.
 *
 * @param head the file's first bytes; nine are enough, fewer only when the file is shorter
 */
export function detectFormat(name: string, head: Uint8Array, sizeBytes: number): DetectedFormat {
  if (claimsSafetensors(name)) return "safetensors";
  if (head.byteLength <= LENGTH_BYTES || head[LENGTH_BYTES] !== OPEN_BRACE) return "opaque";
  const view = new DataView(head.buffer, head.byteOffset, LENGTH_BYTES);
  const headerBytes = view.getUint32(0, true);
  const plausible =
    view.getUint32(4, true) === 0 &&
    headerBytes >= "{}".length &&
    headerBytes <= SAFETENSORS_HEADER_BYTES_MAX &&
    LENGTH_BYTES + headerBytes <= sizeBytes;
  return plausible ? "safetensors" : "opaque";
}

/** Whether the name says that the file is safetensors, so that a malformed one must be refused. */
export function claimsSafetensors(name: string): boolean {
  return name.toLowerCase().endsWith(".safetensors");
}
