import { type DType, type Tensor, tensorFromBytes, tensorSizeBytes } from "../formats/tensor.ts";
import { allocatePages } from "../src/disk/aligned.ts";
import { PAGE_BYTES } from "../src/disk/disk.ts";
import { StoreError } from "../src/errors.ts";
import { SHARED_MEMORY_BYTES_MAX } from "../src/limits.ts";

/** What a tensor is to be: its type and the sizes of its axes, outermost first. */
export interface TensorSpec {
  dtype: DType;
  shape: number[];
}

/**
 * Zeroed tensors in shared memory, each from a page boundary on: what worker threads and direct I/O can reach. Many
 * share one memory of at most 4 GiB, which never grows, so that their arrays stay valid.
 */
export function allocateTensors<Name extends string>(specs: Record<Name, TensorSpec>): Record<Name, Tensor> {
  if (typeof specs !== "object" || specs === null) {
    throw new StoreError(
      "ERR_INVALID_ARGUMENT",
      `allocate needs specifications by name, not ${String(specs)}`,
      {
        hint: 'For example { w: { dtype: "F32", shape: [512, 128] } }.',
      },
    );
  }
  const entries = Object.entries(specs) as [Name, TensorSpec][];
  const tensors: [Name, Tensor][] = [];
  let group: { name: Name; spec: TensorSpec; offset: number; sizeBytes: number }[] = [];
  let groupBytes = 0;
  const flush = () => {
    const memory = allocatePages(groupBytes, { shared: true });
    for (const { name, spec, offset, sizeBytes } of group) {
      const bytes = memory.subarray(offset, offset + sizeBytes);
      tensors.push([name, tensorFromBytes(spec.dtype, spec.shape, bytes, name)]);
    }
    group = [];
    groupBytes = 0;
  };
  for (const [name, spec] of entries) {
    const sizeBytes = tensorSizeBytes(spec.dtype, spec.shape, name);
    if (sizeBytes > SHARED_MEMORY_BYTES_MAX) throw tooLarge(name, sizeBytes);
    const roomBytes = Math.ceil(sizeBytes / PAGE_BYTES) * PAGE_BYTES;
    if (groupBytes + roomBytes > SHARED_MEMORY_BYTES_MAX) flush();
    group.push({ name, spec, offset: groupBytes, sizeBytes });
    groupBytes += roomBytes;
  }
  flush();
  return Object.fromEntries(tensors) as Record<Name, Tensor>;
}

function tooLarge(name: string, sizeBytes: number): StoreError {
  return new StoreError(
    "ERR_LIMIT",
    `tensor ${JSON.stringify(name)} takes ${sizeBytes} bytes; one shared memory holds ${SHARED_MEMORY_BYTES_MAX}`,
    {
      context: { tensor: name, sizeBytes, limit: SHARED_MEMORY_BYTES_MAX },
      hint: "Cut it into several tensors along its first axis.",
    },
  );
}
