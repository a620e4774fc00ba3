import type { ColumnKernels } from "../../kernels/column-kernels.ts";
import type { ByteSink } from "./byte-sink.ts";
import type { ByteSource } from "./byte-source.ts";
import { type NumberType, numberWidth } from "./column.ts";

/** Types as the kernels number them. */
export const TYPE_CODE: Record<NumberType, number> = {
  f64: 0,
  f32: 1,
  i64: 2,
  u64: 3,
  i32: 4,
  u32: 5,
  i16: 6,
  u16: 7,
  i8: 8,
  u8: 9,
};

/** How a page's numbers become integers: as they are (floats in the order of their bits), or as decimals' digits. */
export interface Lattice {
  /** Digits after the point of decimals; undefined for integers. */
  exponent: number | undefined;
  /** Rows that are no such decimals, and their bytes as they are. */
  misfits: Uint32Array;
  misfitBytes: Uint8Array;
}

/** Floats with more digits than this are not tried as decimals: a double has 17. */
const EXPONENT_MAX = 18;
/** Rows looked at to find the digits. */
const PROBE_ROWS = 256;
/** Rows that are no decimals may be this share of a page; each costs its bytes and its place. */
const MISFIT_SHARE_MAX = 1 / 12;

/** Puts a page's raw numbers, which lie in `source`, as integers into `lattice`. */
export function toLattice(kernels: ColumnKernels, type: NumberType, count: number): Lattice {
  const { exports, memory, at } = kernels;
  const none = { exponent: undefined, misfits: new Uint32Array(0), misfitBytes: new Uint8Array(0) };
  if ((type === "f64" || type === "f32") && count > 0) {
    const single = type === "f32" ? 1 : 0;
    const exponent = probeExponent(kernels, type, count);
    if (exponent !== undefined) {
      const most = Math.floor(count * MISFIT_SHARE_MAX);
      const wrong = exports.columnToDecimal(
        at.source,
        at.lattice,
        count,
        10 ** exponent,
        single,
        at.spare,
        most,
      );
      if (wrong <= most) {
        const misfits = new Uint32Array(memory.buffer, at.spare, wrong).slice();
        const width = numberWidth(type);
        const misfitBytes = new Uint8Array(wrong * width);
        misfits.forEach((row, i) => {
          const from = at.source + row * width;
          misfitBytes.set(memory.subarray(from, from + width), i * width);
        });
        return { exponent, misfits, misfitBytes };
      }
    }
  }
  exports.columnWiden(at.source, at.lattice, count, TYPE_CODE[type]);
  return none;
}

/** The fewest digits after the point that nearly all probed rows have, if there are such. */
function probeExponent(kernels: ColumnKernels, type: NumberType, count: number): number | undefined {
  const { exports, at } = kernels;
  const rows = Math.min(count, PROBE_ROWS);
  const width = numberWidth(type);
  const stride = Math.floor(count / rows);
  const bytes = kernels.memory;
  for (let i = 0; i < rows; i++) {
    bytes.copyWithin(
      at.reference + i * width,
      at.source + i * stride * width,
      at.source + (i * stride + 1) * width,
    );
  }
  const single = type === "f32" ? 1 : 0;
  let best: { exponent: number; wrong: number } | undefined;
  for (let exponent = 0; exponent <= EXPONENT_MAX; exponent++) {
    const wrong = exports.columnToDecimal(
      at.reference,
      at.residual,
      rows,
      10 ** exponent,
      single,
      at.spare,
      0,
    );
    if (wrong > rows * MISFIT_SHARE_MAX) continue;
    // A digit more pays off if it spares a misfit in a few hundred rows.
    if (best === undefined || wrong < best.wrong) best = { exponent, wrong };
    if (wrong === 0) break;
  }
  return best?.exponent;
}

export function writeLattice(sink: ByteSink, type: NumberType, lattice: Lattice): void {
  if (type !== "f64" && type !== "f32") return;
  sink.u8(lattice.exponent === undefined ? 0 : lattice.exponent + 1);
  if (lattice.exponent === undefined) return;
  sink.varint(lattice.misfits.length);
  let last = 0;
  for (const row of lattice.misfits) {
    sink.varint(row - last);
    last = row;
  }
  sink.bytes(lattice.misfitBytes);
}

export function readLattice(source: ByteSource, type: NumberType, count: number): Lattice {
  const none = { exponent: undefined, misfits: new Uint32Array(0), misfitBytes: new Uint8Array(0) };
  if (type !== "f64" && type !== "f32") return none;
  const code = source.u8();
  if (code === 0) return none;
  if (code > EXPONENT_MAX + 1) throw source.corrupt(`decimals of ${code - 1} digits`);
  const misfits = new Uint32Array(source.varint(count));
  let last = 0;
  for (let i = 0; i < misfits.length; i++) {
    const step = source.varint(count);
    if (i > 0 && step === 0) throw source.corrupt("a misfit comes twice");
    last += step;
    if (last >= count) throw source.corrupt(`a misfit in row ${last} of ${count}`);
    misfits[i] = last;
  }
  // A copy of their own, whose first byte lies where a number may.
  const misfitBytes = source.bytes(misfits.length * numberWidth(type)).slice();
  return { exponent: code - 1, misfits, misfitBytes };
}

/** What kernels are to make of a page's integers: nothing, decimals (of f64, of f32), numbers of a type. */
export function madeOf(type: NumberType, { exponent }: Lattice): number {
  if (exponent !== undefined) return type === "f64" ? 1 : 2;
  return type === "i64" || type === "u64" ? 0 : 16 + TYPE_CODE[type];
}

/** Puts what is no decimal where it belongs among rows [from, to), whose bytes are `out`. */
export function placeMisfits(
  type: NumberType,
  { misfits, misfitBytes }: Lattice,
  from: number,
  to: number,
  out: Uint8Array,
): void {
  if (misfits.length === 0) return;
  const words = numberWidth(type) / 4;
  const target = new Uint32Array(out.buffer, out.byteOffset, out.length / 4);
  const bits = new Uint32Array(misfitBytes.buffer, misfitBytes.byteOffset, misfitBytes.length / 4);
  for (let i = 0; i < misfits.length; i++) {
    const row = misfits[i]!;
    if (row < from || row >= to) continue;
    const at = (row - from) * words;
    target[at] = bits[i * words]!;
    if (words === 2) target[at + 1] = bits[i * words + 1]!;
  }
}
