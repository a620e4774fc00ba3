import { planFile } from "../formats/safetensors/writer.ts";
import { type Tensor, tensorBytes } from "../formats/tensor.ts";
import { StoreError } from "../src/errors.ts";
import { bytesOrigin, type MemoryOrigin, type SourceFile } from "./source.ts";

/** Tensors by name, in any of the usual forms. */
export type NamedTensors =
  | Record<string, Tensor>
  | ReadonlyMap<string, Tensor>
  | Iterable<readonly [string, Tensor]>;

/** The one file of a version that was saved from tensors instead of files. */
export const MODEL_FILE = "model.safetensors";

/** The tensors as the safetensors file they would make; its bytes are read from the tensors when they are needed. */
export function tensorSource(tensors: NamedTensors): SourceFile {
  const byName = new Map<string, Tensor>();
  for (const [name, tensor] of entriesOf(tensors)) {
    if (byName.has(name)) throw twice(name);
    byName.set(name, tensor);
  }
  const descriptions = [...byName].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  const { header, layout, sizeBytes } = planFile(descriptions);
  const parts: Part[] = [{ offset: 0, bytes: header }];
  for (const { name, offset } of layout.spans) {
    const bytes = tensorBytes(byName.get(name)!, name);
    if (bytes.byteLength > 0) parts.push({ offset, bytes });
  }
  return { kind: "tensors", name: MODEL_FILE, sizeBytes, layout, origin: partsOrigin(parts) };
}

export function entriesOf(tensors: NamedTensors): Iterable<readonly [string, Tensor]> {
  return Symbol.iterator in tensors
    ? (tensors as Iterable<readonly [string, Tensor]>)
    : Object.entries(tensors);
}

function twice(name: string): StoreError {
  return new StoreError("ERR_INVALID_ARGUMENT", `there are two tensors named ${JSON.stringify(name)}`, {
    context: { tensor: name },
    hint: "Give each its own name: only one of them could be saved.",
  });
}

interface Part {
  offset: number;
  bytes: Uint8Array;
}

function partsOrigin(parts: Part[]): MemoryOrigin {
  const partAt = (offset: number): number => {
    let low = 0;
    let high = parts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (parts[middle]!.offset <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  };
  return {
    copy(offset, target) {
      let done = 0;
      for (let i = partAt(offset); done < target.byteLength; i++) {
        const part = parts[i]!;
        const from = offset + done - part.offset;
        const bytes = part.bytes.subarray(from, from + target.byteLength - done);
        bytesOrigin(bytes).copy(0, target.subarray(done, done + bytes.byteLength));
        done += bytes.byteLength;
      }
    },
    shared(offset, sizeBytes) {
      const { offset: start, bytes } = parts[partAt(offset)]!;
      const from = offset - start;
      if (!(bytes.buffer instanceof SharedArrayBuffer) || from + sizeBytes > bytes.byteLength)
        return undefined;
      return bytes.subarray(from, from + sizeBytes);
    },
  };
}
