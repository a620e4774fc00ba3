import { StoreError } from "../src/errors.ts";
import { TENSOR_RANK_MAX } from "../src/limits.ts";

/**
 * A named-by-its-place, dense, row-major, little-endian array: what every model format is read into and written
 * from.
 *
 * `data` is either the element type's typed array or the raw bytes. BF16, F16, F8_*, F6_* and F4 have no typed
 * array and come as bytes (`Uint8Array`); 16-bit floats may also be handed in as a `Uint16Array` of their bits.
 * C64 is a `Float32Array` of interleaved real and imaginary parts. The tensor does not own `data`: whoever made
 * it says until when it may be read.
 *
 * varve reads typed arrays in the machine's byte order, which is little-endian wherever Node.js is commonly run.
 */
export interface Tensor {
  dtype: DType;
  /** Sizes of the axes, outermost first; `[]` is one element, and any zero makes the tensor empty. */
  shape: number[];
  data: TypedArray | Uint8Array;
}

export type TypedArray =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array;

/**
 * Every element type of the safetensors format, in the order its reference implementation declares them: the
 * writer sorts by it. (Source: the `Dtype` enumeration of safetensors 0.8.)
 */
export const DTYPES = [
  "BOOL",
  "F4",
  "F6_E2M3",
  "F6_E3M2",
  "U8",
  "I8",
  "F8_E5M2",
  "F8_E4M3",
  "F8_E8M0",
  "F8_E4M3FNUZ",
  "F8_E5M2FNUZ",
  "I16",
  "U16",
  "F16",
  "BF16",
  "I32",
  "U32",
  "F32",
  "C64",
  "F64",
  "I64",
  "U64",
] as const;

export type DType = (typeof DTYPES)[number];

const BITS: Record<DType, number> = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
};

const known: ReadonlySet<string> = new Set(DTYPES);

export function isDType(text: string): text is DType {
  return known.has(text);
}

/** Bits of one element. */
export function dtypeBits(dtype: DType): number {
  return BITS[dtype];
}

/** Place in `DTYPES`. */
export function dtypeRank(dtype: DType): number {
  return DTYPES.indexOf(dtype);
}

const U64_MAX = (1n << 64n) - 1n;

/** Why a (dtype, shape) has no byte length. */
export type ShapeFault = "rank" | "axis" | "overflow" | "partial-byte";

/**
 * The bytes a tensor of this type and shape holds, or the reason why there is no such number.
 *
 * The product is taken from the first axis on and may not pass 2^64 - 1 at any step, exactly as in the reference
 * reader: `[0, n, n]` is empty whatever `n` is, `[n, n, 0]` overflows when `n * n` does. What is left must be a
 * whole number of bytes and an exact JavaScript number.
 */
export function measureShape(dtype: DType, shape: readonly number[]): number | ShapeFault {
  if (shape.length > TENSOR_RANK_MAX) return "rank";
  let elements = 1;
  for (const axis of shape) {
    if (!Number.isSafeInteger(axis) || axis < 0) return "axis";
    elements *= axis;
    if (elements > Number.MAX_SAFE_INTEGER) return measureExactly(dtype, shape);
  }
  const bits = elements * BITS[dtype];
  if (bits > Number.MAX_SAFE_INTEGER) return measureExactly(dtype, shape);
  return bits % 8 === 0 ? bits / 8 : "partial-byte";
}

/** The same beyond 2^53, where doubles are no longer exact. */
function measureExactly(dtype: DType, shape: readonly number[]): number | ShapeFault {
  let elements = 1n;
  for (const axis of shape) {
    if (!Number.isSafeInteger(axis) || axis < 0) return "axis";
    elements *= BigInt(axis);
    if (elements > U64_MAX) return "overflow";
  }
  const bits = elements * BigInt(BITS[dtype]);
  if (bits > U64_MAX) return "overflow";
  if (bits % 8n !== 0n) return "partial-byte";
  const sizeBytes = bits / 8n;
  return sizeBytes > BigInt(Number.MAX_SAFE_INTEGER) ? "overflow" : Number(sizeBytes);
}

/**
 * The bytes a tensor of this type and shape holds.
 *
 * @param name the tensor's name, for the error message
 * @throws ERR_INVALID_ARGUMENT when an axis is no whole number from 0 to 2^53 - 1, the size overflows, there are
 * more than `TENSOR_RANK_MAX` axes, or a 4- or 6-bit type does not fill its last byte
 */
export function tensorSizeBytes(dtype: DType, shape: readonly number[], name?: string): number {
  if (!isDType(dtype)) throw invalid(name, `has the unknown dtype ${JSON.stringify(dtype)}`, { dtype });
  if (!Array.isArray(shape)) throw invalid(name, "has no array for a shape", { dtype });
  const measured = measureShape(dtype, shape);
  if (typeof measured === "number") return measured;
  throw invalid(name, `of dtype ${dtype} and shape ${formatShape(shape)} ${describeShapeFault(measured)}`, {
    dtype,
    fault: measured,
  });
}

export function describeShapeFault(fault: ShapeFault): string {
  switch (fault) {
    case "rank":
      return `has more than ${TENSOR_RANK_MAX} axes`;
    case "axis":
      return "has an axis that is not a whole number from 0 to 2^53 - 1";
    case "overflow":
      return "is larger than any file can be";
    case "partial-byte":
      return "does not end on a whole byte";
  }
}

/** `[64, 128]`; a long shape is cut, as it only serves a message. */
export function formatShape(shape: readonly number[]): string {
  const shown = shape.slice(0, 8).join(", ");
  return shape.length > 8 ? `[${shown}, ... ${shape.length} axes]` : `[${shown}]`;
}

/** The typed arrays that may carry a dtype; plain bytes always may. */
const CARRIERS: Record<DType, readonly string[]> = {
  BOOL: ["Uint8Array"],
  F4: [],
  F6_E2M3: [],
  F6_E3M2: [],
  U8: ["Uint8Array"],
  I8: ["Int8Array"],
  F8_E5M2: [],
  F8_E4M3: [],
  F8_E8M0: [],
  F8_E4M3FNUZ: [],
  F8_E5M2FNUZ: [],
  I16: ["Int16Array"],
  U16: ["Uint16Array"],
  F16: ["Uint16Array", "Float16Array"],
  BF16: ["Uint16Array"],
  I32: ["Int32Array"],
  U32: ["Uint32Array"],
  F32: ["Float32Array"],
  C64: ["Float32Array"],
  F64: ["Float64Array"],
  I64: ["BigInt64Array"],
  U64: ["BigUint64Array"],
};

/**
 * The tensor's raw little-endian bytes: a view of `data`, never a copy, so it lives and changes with it.
 *
 * @param name the tensor's name, for the error message
 * @throws ERR_INVALID_ARGUMENT when dtype, shape and data do not fit together
 * @example
 * const bytes = tensorBytes({ dtype: "F32", shape: [2], data: new Float32Array([1, 2]) }); // 8 bytes
 */
export function tensorBytes(tensor: Tensor, name?: string): Uint8Array {
  const { dtype, shape, data } = tensor;
  const sizeBytes = tensorSizeBytes(dtype, shape, name);
  if (!ArrayBuffer.isView(data) || data instanceof DataView) {
    throw invalid(name, "has data that is neither a typed array nor bytes", { dtype });
  }
  const kind = Object.prototype.toString.call(data).slice("[object ".length, -1);
  if (kind !== "Uint8Array" && !CARRIERS[dtype].includes(kind)) {
    const wanted = ["Uint8Array of bytes", ...CARRIERS[dtype].filter((carrier) => carrier !== "Uint8Array")];
    throw invalid(name, `of dtype ${dtype} comes as a ${kind}, not as a ${wanted.join(" or ")}`, {
      dtype,
      kind,
    });
  }
  if (data.byteLength !== sizeBytes) {
    throw invalid(
      name,
      `of dtype ${dtype} and shape ${formatShape(shape)} needs ${sizeBytes} bytes but has ${data.byteLength}`,
      { dtype, sizeBytes, givenBytes: data.byteLength },
    );
  }
  return data instanceof Uint8Array ? data : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

type ArrayMaker = {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBufferLike, byteOffset?: number, length?: number): TypedArray;
};

const MAKERS: Partial<Record<DType, ArrayMaker>> = {
  I8: Int8Array,
  I16: Int16Array,
  U16: Uint16Array,
  I32: Int32Array,
  U32: Uint32Array,
  F32: Float32Array,
  C64: Float32Array,
  F64: Float64Array,
  I64: BigInt64Array,
  U64: BigUint64Array,
};

/**
 * A tensor over raw little-endian bytes. `data` is a view of `bytes` where their place in memory is aligned for
 * the typed array, else a copy; types without a typed array keep `bytes` itself.
 *
 * @param name the tensor's name, for the error message
 * @throws ERR_INVALID_ARGUMENT when the number of bytes is not what dtype and shape ask for
 */
export function tensorFromBytes(
  dtype: DType,
  shape: readonly number[],
  bytes: Uint8Array,
  name?: string,
): Tensor {
  const sizeBytes = tensorSizeBytes(dtype, shape, name);
  if (bytes.byteLength !== sizeBytes) {
    throw invalid(
      name,
      `of dtype ${dtype} and shape ${formatShape(shape)} needs ${sizeBytes} bytes but has ${bytes.byteLength}`,
      { dtype, sizeBytes, givenBytes: bytes.byteLength },
    );
  }
  const make = MAKERS[dtype];
  if (make === undefined) return { dtype, shape: [...shape], data: bytes };
  const aligned = bytes.byteOffset % make.BYTES_PER_ELEMENT === 0;
  const source = aligned ? bytes : new Uint8Array(bytes);
  const data = new make(source.buffer, source.byteOffset, sizeBytes / make.BYTES_PER_ELEMENT);
  return { dtype, shape: [...shape], data };
}

function invalid(name: string | undefined, problem: string, context: Record<string, unknown>): StoreError {
  const subject = name === undefined ? "the tensor" : `tensor ${JSON.stringify(name)}`;
  return new StoreError("ERR_INVALID_ARGUMENT", `${subject} ${problem}`, {
    context: name === undefined ? context : { tensor: name, ...context },
    hint: "A tensor's data is its dtype's typed array, or its raw bytes, of exactly shape × width.",
  });
}
