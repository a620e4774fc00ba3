import { StoreError } from "../src/errors.ts";
import { type DType, type Tensor, tensorBytes, tensorSizeBytes } from "./tensor.ts";

/**
 * Small floats to and from float32.
 *
 * To float32 is exact: every value of every type here is a float32. From float32 rounds to nearest, ties to even
 * (the code with the even mantissa), subnormals included. What lies past the largest value after rounding:
 *
 *   dtype         layout   bias  largest  infinity       past the largest   NaN
 *   BF16          1·8·7    127   3.39e38  yes            infinity           sign and upper payload kept, made quiet
 *   F16           1·5·10   15    65504    yes            infinity           0x7e00 with the sign
 *   F8_E5M2       1·5·2    15    57344    yes            infinity           0x7e with the sign
 *   F8_E4M3       1·4·3    7     448      becomes NaN    NaN                0x7f with the sign
 *   F8_E4M3FNUZ   1·4·3    8     240      becomes NaN    NaN                0x80, the one NaN; -0 becomes 0
 *   F8_E5M2FNUZ   1·5·2    16    57344    becomes NaN    NaN                0x80, the one NaN; -0 becomes 0
 *   F8_E8M0       0·8·0    127   2^127    becomes NaN    NaN                0xff; so do negative values
 *
 * F8_E8M0 is a scale: a power of two from 2^-127 to 2^127. Zero becomes 2^-127; a tie between two powers goes to
 * the even exponent code. (Sources: IEEE 754; OCP 8-bit Floating Point Specification and Microscaling Formats
 * 1.0; the FNUZ types as in the ml_dtypes project.)
 */
interface SmallFloat {
  exponentBits: number;
  mantissaBits: number;
  bias: number;
  /** What the codes at the top are: `ieee` infinity and NaN, `fn` one NaN a sign, `fnuz` NaN at negative zero. */
  kind: "ieee" | "fn" | "fnuz";
}

const SMALL_FLOATS = {
  F16: { exponentBits: 5, mantissaBits: 10, bias: 15, kind: "ieee" },
  F8_E5M2: { exponentBits: 5, mantissaBits: 2, bias: 15, kind: "ieee" },
  F8_E4M3: { exponentBits: 4, mantissaBits: 3, bias: 7, kind: "fn" },
  F8_E4M3FNUZ: { exponentBits: 4, mantissaBits: 3, bias: 8, kind: "fnuz" },
  F8_E5M2FNUZ: { exponentBits: 5, mantissaBits: 2, bias: 16, kind: "fnuz" },
} satisfies Partial<Record<DType, SmallFloat>>;

/** The types that `toFloat32` and `fromFloat32` convert. */
export type SmallFloatDType = "BF16" | "F8_E8M0" | keyof typeof SMALL_FLOATS;

export function isSmallFloat(dtype: DType): dtype is SmallFloatDType {
  return dtype === "BF16" || dtype === "F8_E8M0" || Object.hasOwn(SMALL_FLOATS, dtype);
}

/**
 * A tensor's elements as float32, exactly.
 *
 * @param name the tensor's name, for the error message
 * @returns a new array the caller owns, one number an element in row-major order
 * @throws ERR_INVALID_ARGUMENT for any dtype but BF16, F16 and F8_*, or data that does not fit the shape
 */
export function toFloat32(tensor: Tensor, name?: string): Float32Array {
  const { dtype } = tensor;
  if (!isSmallFloat(dtype)) throw notSmall(dtype, name);
  const bytes = tensorBytes(tensor, name);
  const widthBytes = dtype === "BF16" || dtype === "F16" ? 2 : 1;
  const codes = widthBytes === 1 ? bytes : wordsOf(bytes);
  const values = new Float32Array(codes.length);
  // Written as bits: a NaN that passes through a JavaScript number may lose its payload.
  const bits = new Uint32Array(values.buffer);
  if (dtype === "BF16") {
    for (let i = 0; i < codes.length; i++) bits[i] = codes[i]! << 16;
    return values;
  }
  const table = decodeTable(dtype);
  for (let i = 0; i < codes.length; i++) bits[i] = table[codes[i]!]!;
  return values;
}

/**
 * A tensor of a small float type, rounded from float32 to nearest, ties to even.
 *
 * @param name the tensor's name, for the error message
 * @returns a tensor whose `data` are new bytes the caller owns
 * @throws ERR_INVALID_ARGUMENT for any dtype but BF16, F16 and F8_*, or a number of values that is not the shape's
 * @example
 * const half = fromFloat32("BF16", [2], new Float32Array([1, 0.1]));
 */
export function fromFloat32(
  dtype: SmallFloatDType,
  shape: readonly number[],
  values: Float32Array,
  name?: string,
): Tensor {
  if (!isSmallFloat(dtype)) throw notSmall(dtype, name);
  const data = new Uint8Array(tensorSizeBytes(dtype, shape, name));
  const codes = dtype === "BF16" || dtype === "F16" ? new Uint16Array(data.buffer) : data;
  if (values.length !== codes.length) {
    const subject = name === undefined ? "the tensor" : `tensor ${JSON.stringify(name)}`;
    const problem = `${subject} has ${codes.length} elements but ${values.length} values were given`;
    throw new StoreError("ERR_INVALID_ARGUMENT", problem, {
      context: name === undefined ? {} : { tensor: name },
    });
  }
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const encode =
    dtype === "BF16" ? encodeBrain : dtype === "F8_E8M0" ? encodeScale : encoderOf(SMALL_FLOATS[dtype]);
  for (let i = 0; i < codes.length; i++) codes[i] = encode(bits[i]!);
  return { dtype, shape: [...shape], data };
}

function notSmall(dtype: DType, name?: string): StoreError {
  const subject = name === undefined ? "the tensor" : `tensor ${JSON.stringify(name)}`;
  return new StoreError("ERR_INVALID_ARGUMENT", `${subject} is ${dtype}, which is not a 16- or 8-bit float`, {
    context: name === undefined ? { dtype } : { dtype, tensor: name },
    hint: "BF16, F16 and the F8 types convert to and from float32; other types are typed arrays already.",
  });
}

function wordsOf(bytes: Uint8Array): Uint16Array {
  const source = bytes.byteOffset % 2 === 0 ? bytes : new Uint8Array(bytes);
  return new Uint16Array(source.buffer, source.byteOffset, source.byteLength / 2);
}

const INFINITY_BITS = 0x7f800000;

const decodeTables = new Map<SmallFloatDType, Uint32Array>();

/** The float32 bits of every code: 1 KiB for 8-bit types, 256 KiB for F16, built on first use. */
function decodeTable(dtype: Exclude<SmallFloatDType, "BF16">): Uint32Array {
  let table = decodeTables.get(dtype);
  if (table === undefined) {
    const codes = dtype === "F16" ? 1 << 16 : 1 << 8;
    const decode = dtype === "F8_E8M0" ? decodeScale : decoderOf(SMALL_FLOATS[dtype]);
    table = Uint32Array.from({ length: codes }, (_, code) => decode(code));
    decodeTables.set(dtype, table);
  }
  return table;
}

function decoderOf({ exponentBits, mantissaBits, bias, kind }: SmallFloat): (code: number) => number {
  const top = (1 << exponentBits) - 1;
  const allOnes = (1 << (exponentBits + mantissaBits)) - 1;
  const mantissaMask = (1 << mantissaBits) - 1;
  const scratch = new Float32Array(1);
  const scratchBits = new Uint32Array(scratch.buffer);
  return (code) => {
    const sign = (code >>> (exponentBits + mantissaBits)) << 31;
    const magnitude = code & allOnes;
    const exponent = magnitude >>> mantissaBits;
    const mantissa = magnitude & mantissaMask;
    const quietNaN = (sign | 0x7fc00000) >>> 0;
    if (kind === "fnuz" && sign !== 0 && magnitude === 0) return quietNaN;
    if (kind === "fn" && magnitude === allOnes) return quietNaN;
    // Infinity, or a NaN with its payload.
    if (kind === "ieee" && exponent === top)
      return (sign | INFINITY_BITS | (mantissa << (23 - mantissaBits))) >>> 0;
    scratch[0] =
      exponent === 0
        ? mantissa * 2 ** (1 - bias - mantissaBits)
        : (mantissa + (1 << mantissaBits)) * 2 ** (exponent - bias - mantissaBits);
    return (sign | scratchBits[0]!) >>> 0;
  };
}

/** Rounds float32 bits to a code by integer arithmetic: exact, and the same on every machine. */
function encoderOf({ exponentBits, mantissaBits, bias, kind }: SmallFloat): (bits: number) => number {
  const signShift = exponentBits + mantissaBits;
  const allOnes = (1 << signShift) - 1;
  const ieeeInfinity = allOnes ^ ((1 << mantissaBits) - 1);
  /** The first magnitude past the largest finite one. */
  const past = kind === "ieee" ? ieeeInfinity : kind === "fn" ? allOnes : allOnes + 1;
  return (bits) => {
    const sign = (bits >>> 31) << signShift;
    const magnitude = bits & 0x7fffffff;
    const nan = kind === "ieee" ? ieeeInfinity | (1 << (mantissaBits - 1)) : allOnes;
    if (magnitude > INFINITY_BITS) return kind === "fnuz" ? 1 << signShift : sign | nan;
    const rounded = magnitude === INFINITY_BITS ? past : roundMagnitude(magnitude, mantissaBits, bias);
    if (rounded >= past) {
      if (kind === "fnuz") return 1 << signShift;
      return sign | (kind === "ieee" ? ieeeInfinity : nan);
    }
    return kind === "fnuz" && rounded === 0 ? 0 : sign | rounded;
  };
}

/** A finite float32 magnitude as exponent and mantissa of the small type, rounded; it may be too large for it. */
function roundMagnitude(magnitude: number, mantissaBits: number, bias: number): number {
  const exponent = (magnitude >>> 23) - 127 + bias;
  const dropped = 23 - mantissaBits;
  // A rounding that carries out of the mantissa moves on to the next exponent, as the codes are in order.
  if (exponent >= 1) return roundShift(((exponent << 23) | (magnitude & 0x7fffff)) >>> 0, dropped);
  // A float32 subnormal is far below half of any small type's least value.
  if (magnitude < 0x800000) return 0;
  const shift = dropped + 1 - exponent;
  return shift > 24 + 1 ? 0 : roundShift((magnitude & 0x7fffff) | 0x800000, shift);
}

/** `value / 2^shift` to nearest, ties to even. */
function roundShift(value: number, shift: number): number {
  const scale = 2 ** shift;
  const whole = Math.floor(value / scale);
  const rest = value - whole * scale;
  const half = scale / 2;
  return rest > half || (rest === half && whole % 2 === 1) ? whole + 1 : whole;
}

function encodeBrain(bits: number): number {
  if ((bits & 0x7fffffff) > INFINITY_BITS) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** A code is the exponent field of the float32 itself, but for the ends. */
function decodeScale(code: number): number {
  if (code === 0xff) return 0x7fc00000;
  return code === 0 ? 0x00400000 : code << 23;
}

function encodeScale(bits: number): number {
  if (bits === 0x80000000) return 0;
  if (bits >= INFINITY_BITS) return 0xff; // infinity, NaN and everything with a sign
  const code = bits >>> 23;
  const mantissa = bits & 0x7fffff;
  // Below 2^-126 float32 is subnormal: 2^-127 is code 0, and three quarters of the way up is the tie.
  if (code === 0) return mantissa > 0x600000 ? 1 : 0;
  const half = 0x400000;
  return mantissa > half || (mantissa === half && code % 2 === 1) ? code + 1 : code;
}
