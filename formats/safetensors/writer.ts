import { StoreError } from "../../src/errors.ts";
import {
  SAFETENSORS_HEADER_BYTES_MAX,
  SAFETENSORS_KEYS_MAX,
  SAFETENSORS_TENSORS_MAX,
} from "../../src/limits.ts";
import type { FileLayout, TensorSpan } from "../layout.ts";
import { type DType, dtypeRank, type Tensor, tensorBytes, tensorSizeBytes } from "../tensor.ts";
import { HEADER_ALIGNMENT_BYTES, LENGTH_BYTES, METADATA_KEY, quoteName } from "./format.ts";

export interface TensorDescription {
  name: string;
  dtype: DType;
  shape: number[];
}

/** A file to be: write `header`, then the data of each span of `layout` in order. */
export interface SafetensorsPlan {
  /** The first 8 + N bytes. */
  header: Uint8Array;
  layout: FileLayout;
  sizeBytes: number;
}

/**
 * Lays out a file as the reference writer does: tensors by dtype, widest first (the reverse of `DTYPES`), then by
 * the bytes of their names; the header padded with spaces to 8 bytes, so that every tensor's data is aligned.
 * Metadata comes first, its keys sorted. The same input in any order gives the same bytes.
 *
 * @throws ERR_INVALID_ARGUMENT for two tensors of one name, the name `__metadata__`, a name or metadata string
 * with an unpaired surrogate, or a shape that has no byte length
 * @throws ERR_LIMIT when the header would be larger than a reader accepts
 */
export function planFile(
  tensors: readonly TensorDescription[],
  metadata?: ReadonlyMap<string, string>,
): SafetensorsPlan {
  checkCount("tensors", tensors.length, SAFETENSORS_TENSORS_MAX);
  checkCount("metadata keys", metadata?.size ?? 0, SAFETENSORS_KEYS_MAX);
  const ordered = inWritingOrder(tensors);
  const spans: TensorSpan[] = [];
  const parts: string[] = [];
  if (metadata !== undefined && metadata.size > 0) parts.push(`"${METADATA_KEY}":${metadataJson(metadata)}`);
  let offset = 0;
  for (const { name, dtype, shape } of ordered) {
    const sizeBytes = tensorSizeBytes(dtype, shape, name);
    const end = offset + sizeBytes;
    if (!Number.isSafeInteger(end)) throw invalid("the tensors are larger than any file can be", name);
    parts.push(
      `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape.join(",")}],"data_offsets":[${offset},${end}]}`,
    );
    spans.push({ name, dtype, shape: [...shape], offset, sizeBytes });
    offset = end;
  }
  const header = frameHeader(`{${parts.join(",")}}`);
  for (const span of spans) span.offset += header.byteLength;
  return { header, layout: { format: "safetensors", spans }, sizeBytes: header.byteLength + offset };
}

/**
 * A whole file in memory: for small models and tests; large ones are streamed by `planFile`.
 *
 * @example
 * safetensorsFile(new Map([["w", { dtype: "F32", shape: [2], data: new Float32Array([1, 2]) }]]));
 */
export function safetensorsFile(
  tensors: ReadonlyMap<string, Tensor>,
  metadata?: ReadonlyMap<string, string>,
): Uint8Array {
  const descriptions = [...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  const { header, layout, sizeBytes } = planFile(descriptions, metadata);
  const file = new Uint8Array(sizeBytes);
  file.set(header, 0);
  for (const { name, offset } of layout.spans) file.set(tensorBytes(tensors.get(name)!, name), offset);
  return file;
}

function inWritingOrder(tensors: readonly TensorDescription[]): TensorDescription[] {
  const names = new Set<string>();
  const keyed = tensors.map((tensor) => {
    const { name } = tensor;
    checkText(name, "a tensor's name");
    if (name === METADATA_KEY) throw invalid(`no tensor may be named ${METADATA_KEY}`, name);
    if (names.has(name)) throw invalid(`two tensors are named ${quoteName(name)}`, name);
    names.add(name);
    return { tensor, rank: dtypeRank(tensor.dtype), nameBytes: Buffer.from(name) };
  });
  keyed.sort((a, b) => b.rank - a.rank || Buffer.compare(a.nameBytes, b.nameBytes));
  return keyed.map(({ tensor }) => tensor);
}

function metadataJson(metadata: ReadonlyMap<string, string>): string {
  const entries = [...metadata].map(([key, value]) => {
    checkText(key, "a metadata key");
    checkText(value, `the metadata value of ${quoteName(String(key))}`);
    return { keyBytes: Buffer.from(key), json: `${JSON.stringify(key)}:${JSON.stringify(value)}` };
  });
  entries.sort((a, b) => Buffer.compare(a.keyBytes, b.keyBytes));
  return `{${entries.map(({ json }) => json).join(",")}}`;
}

/** N, the header and the spaces that bring it to a multiple of 8 bytes. */
function frameHeader(json: string): Uint8Array {
  const jsonBytes = Buffer.byteLength(json);
  const paddedBytes = Math.ceil(jsonBytes / HEADER_ALIGNMENT_BYTES) * HEADER_ALIGNMENT_BYTES;
  checkCount("header bytes", paddedBytes, SAFETENSORS_HEADER_BYTES_MAX);
  const header = new Uint8Array(LENGTH_BYTES + paddedBytes).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(paddedBytes), true);
  new TextEncoder().encodeInto(json, header.subarray(LENGTH_BYTES));
  return header;
}

function checkText(text: unknown, what: string): void {
  if (typeof text !== "string") throw invalid(`${what} is not a string`);
  // An unpaired surrogate has no UTF-8 form: it would be written as something else.
  if (/\p{Surrogate}/u.test(text)) throw invalid(`${what} holds an unpaired surrogate`, text);
}

function checkCount(what: string, count: number, limit: number): void {
  if (count <= limit) return;
  throw new StoreError("ERR_LIMIT", `safetensors: ${count} ${what}; at most ${limit} fit in a file`, {
    context: { what, count, limit },
    hint: "Split the model over several files.",
  });
}

function invalid(problem: string, tensor?: string): StoreError {
  return new StoreError("ERR_INVALID_ARGUMENT", `safetensors: ${problem}`, {
    context: tensor === undefined ? {} : { tensor },
  });
}
