import type { ColumnKernels } from "../../kernels/column-kernels.ts";
import type { ByteSink } from "./byte-sink.ts";
import type { ByteSource } from "./byte-source.ts";
import { besideOf } from "./copying.ts";
import { DELTA, type Spacing, startAt } from "./prediction.ts";

/** Rows of a block: what reading one row decodes. */
export const BLOCK_ROWS = 1024;
/** Of each block in the table: least i64, x[-1] i64, width u8. */
const ENTRY_BYTES = 17;
/** Added to the width of a block with outliers, whose upper bits follow its lanes. */
const OUTLYING = 128;
/** How many outliers u16, bytes of the upper bits u8; then a row u16 and upper bits of each. */
const OUTLIER_HEAD_BYTES = 3;

/** Packs the residuals at `residual` by blocks, with the integers still at `lattice`. */
export function encodeLight(
  kernels: ColumnKernels,
  kind: number,
  { offset, divisor }: Spacing,
  count: number,
): (sink: ByteSink) => void {
  const { exports, memory, view, at } = kernels;
  const blocks = Math.ceil(count / BLOCK_ROWS);
  const table = new DataView(new ArrayBuffer(blocks * ENTRY_BYTES));
  const packed: Uint8Array[] = [];
  for (let block = 0; block < blocks; block++) {
    const row = block * BLOCK_ROWS;
    const rows = Math.min(BLOCK_ROWS, count - row);
    const from = at.residual + row * 8;
    exports.columnPlanBlock(from, rows, at.spare, at.counts);
    const least = view.getBigInt64(at.counts, true);
    const width = view.getUint32(at.counts + 8, true);
    const outliers = view.getUint32(at.counts + 12, true);
    const sizeBytes = exports.columnPack(from, rows, least, width, outliers, at.packed);
    packed.push(memory.slice(at.packed, at.packed + sizeBytes));
    const entry = block * ENTRY_BYTES;
    table.setBigInt64(entry, BigInt.asIntN(64, least * divisor + offset), true);
    table.setBigInt64(entry + 8, startAt(kernels, kind, row, count).before, true);
    table.setUint8(entry + 16, width + (outliers > 0 ? OUTLYING : 0));
  }
  return (sink) => {
    sink.varint64(divisor).bytes(new Uint8Array(table.buffer));
    for (const block of packed) sink.bytes(block);
  };
}

export interface LightReader {
  /** Unpacks blocks [first, end), whole ones, to an address: integers, or what `made` says, decimals by `scale`. */
  unpack(
    kernels: ColumnKernels,
    first: number,
    end: number,
    made: number,
    scale: number,
    target: number,
  ): void;
}

/** What is made of integers as they are unpacked: nothing, decimals, or floats by the order of their bits. */
export const MADE_INTEGERS = 0;
export const MADE_DECIMALS = 1;
export const MADE_ORDERED = 2;

export function readLight(source: ByteSource, kind: number, count: number): LightReader {
  const divisor = BigInt.asIntN(64, source.varint64());
  const blocks = Math.ceil(count / BLOCK_ROWS);
  const table = source.bytes(blocks * ENTRY_BYTES);
  const starts = blockStarts(table, source);
  const blockBytes = starts[blocks]!;
  if (blockBytes !== source.left)
    throw source.corrupt(`${blockBytes} bytes of blocks are named, ${source.left} follow`);
  const ends = source.again();
  const packed = source.bytes(blockBytes);
  const delta = kind === DELTA ? 1 : 0;
  return {
    unpack({ exports, memory, at }, first, end, made, scale, target) {
      const part = packed.subarray(starts[first]!, starts[end]!);
      memory.set(table.subarray(first * ENTRY_BYTES, end * ENTRY_BYTES), at.counts);
      const from = besideOf(at.packed, part);
      memory.set(part, from);
      const read = exports.columnUnpackBlocks(
        at.counts,
        from,
        part.length,
        end - first,
        delta,
        divisor,
        made,
        scale,
        target,
      );
      if (read !== part.length) throw ends.corrupt("its blocks are none");
    },
  };
}

/** Where each block begins in what the source has left, and the end of the last. */
function blockStarts(table: Uint8Array, source: ByteSource): Uint32Array {
  const bytes = source.rest();
  const blocks = table.length / ENTRY_BYTES;
  const starts = new Uint32Array(blocks + 1);
  for (let block = 0; block < blocks; block++) {
    const said = table[block * ENTRY_BYTES + 16]!;
    const width = said & (OUTLYING - 1);
    if (width > 64) throw source.corrupt(`a block of ${width} bits`);
    let end = starts[block]! + width * 128;
    if (said >= OUTLYING) {
      if (end + OUTLIER_HEAD_BYTES > bytes.length) throw source.corrupt("its outliers are cut off");
      const outliers = bytes[end]! | (bytes[end + 1]! << 8);
      end += OUTLIER_HEAD_BYTES + outliers * (2 + bytes[end + 2]!);
    }
    starts[block + 1] = end;
  }
  return starts;
}
