import { SAFETENSORS_HEADER_BYTES_MAX } from "../src/limits.ts";
import { looksLikeNpy } from "./npy/reader.ts";
import { LENGTH_BYTES, OPEN_BRACE } from "./safetensors/format.ts";
import { looksLikeZip } from "./zip.ts";

export type DetectedFormat = "safetensors" | "pt" | "npy" | "npz" | "onnx" | "opaque";

/**
 * How to read a file.
 *
 * A file named `*.safetensors` (in any case) always is safetensors, so that a malformed one is refused instead of
 * stored as bytes nobody can load; likewise `*.npy`, `*.onnx`, and those `*.pt`, `*.pth` and `*.npz` that are ZIP
 * archives (PyTorch's older files are bare pickles, which are kept as bytes and never read). Any other name is
 * sniffed. That is a guess about a file that never claimed to be one, so when the strict parse of a *sniffed* file
 * fails, treat it as opaque.
 *
 * @param head the file's first bytes; nine are enough, fewer only when the file is shorter
 */
export function detectFormat(name: string, head: Uint8Array, sizeBytes: number): DetectedFormat {
  const claimed = claimedFormat(name);
  if (claimed === "pt" || claimed === "npz") return looksLikeZip(head) ? claimed : "opaque";
  if (claimed !== undefined) return claimed;
  if (looksLikeZip(head)) return "pt";
  if (looksLikeNpy(head)) return "npy";
  return looksLikeSafetensors(head, sizeBytes) ? "safetensors" : "opaque";
}

/** The format a name claims, so that a malformed file of that name must be refused. */
export function claimedFormat(name: string): Exclude<DetectedFormat, "opaque"> | undefined {
  const extension = /\.(safetensors|pth?|np[yz]|onnx)$/i.exec(name)?.[1]?.toLowerCase();
  return extension === "pth" ? "pt" : (extension as Exclude<DetectedFormat, "opaque"> | undefined);
}

/** A plausible header length followed by `{`. */
function looksLikeSafetensors(head: Uint8Array, sizeBytes: number): boolean {
  if (head.byteLength <= LENGTH_BYTES || head[LENGTH_BYTES] !== OPEN_BRACE) return false;
  const view = new DataView(head.buffer, head.byteOffset, LENGTH_BYTES);
  const headerBytes = view.getUint32(0, true);
  return (
    view.getUint32(4, true) === 0 &&
    headerBytes >= "{}".length &&
    headerBytes <= SAFETENSORS_HEADER_BYTES_MAX &&
    LENGTH_BYTES + headerBytes <= sizeBytes
  );
}
