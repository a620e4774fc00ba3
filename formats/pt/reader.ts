import { PICKLE_BYTES_MAX } from "../../src/limits.ts";
import type { ByteSource } from "../byte-source.ts";
import type { FileLayout, TensorSpan } from "../layout.ts";
import { malformed } from "../malformed.ts";
import { type DType, dtypeBits } from "../tensor.ts";
import { readZipEntries, type ZipEntry } from "../zip.ts";
import { CheckpointNames } from "./names.ts";
import { readPickle } from "./pickle.ts";
import type { TensorView } from "./pickle-values.ts";
import { type NamedView, namedViews } from "./tensors.ts";

/*
 * A `.pt` file as `torch.save` has written it since PyTorch 1.6: a ZIP archive of uncompressed entries.
 *
 *   NAME/data.pkl     a pickle of everything but the tensors' bytes, which it refers to by storage
 *   NAME/data/KEY     one storage's elements, at a multiple of 64 bytes
 *   NAME/byteorder    "little" or "big"; absent before PyTorch 2.1, which means little
 *   NAME/version
 *
 * Source: PyTorch's `torch/serialization.py` (`_save`, `_load`), `torch/_utils.py` and `caffe2/serialize/inline_container.cc`.
 */

const PICKLE = "/data.pkl";

/** Elements of each storage class, and of each dtype name for storages that have no type. */
const ELEMENTS: Record<string, DType | "C128"> = {
  BFloat16Storage: "BF16",
  BoolStorage: "BOOL",
  ByteStorage: "U8",
  CharStorage: "I8",
  ComplexDoubleStorage: "C128",
  ComplexFloatStorage: "C64",
  DoubleStorage: "F64",
  FloatStorage: "F32",
  HalfStorage: "F16",
  IntStorage: "I32",
  LongStorage: "I64",
  QInt32Storage: "I32",
  QInt8Storage: "I8",
  QUInt8Storage: "U8",
  ShortStorage: "I16",
  UntypedStorage: "U8",
  bfloat16: "BF16",
  bool: "BOOL",
  complex128: "C128",
  complex64: "C64",
  float16: "F16",
  float32: "F32",
  float64: "F64",
  float8_e4m3fn: "F8_E4M3",
  float8_e4m3fnuz: "F8_E4M3FNUZ",
  float8_e5m2: "F8_E5M2",
  float8_e5m2fnuz: "F8_E5M2FNUZ",
  float8_e8m0fnu: "F8_E8M0",
  int16: "I16",
  int32: "I32",
  int64: "I64",
  int8: "I8",
  uint16: "U16",
  uint32: "U32",
  uint64: "U64",
  uint8: "U8",
};

/**
 * Where the tensors of a `.pt` file lie. `undefined` when the archive is no checkpoint: TorchScript, another use of
 * ZIP, or elements in big-endian order.
 *
 * Tensors that share a storage share its bytes: they belong to the one that begins first, of those to the largest. One
 * that does not lie in one piece (a transposed view) gives its storage's bytes the name `PATH (storage)`.
 *
 * @throws `ERR_FORMAT_PT` with `context.rule`: a name that is not on the allow-list, a pickle or an archive that
 * contradicts itself, a tensor outside its storage
 */
export function readPtLayout(source: ByteSource): FileLayout | undefined {
  const entries = readZipEntries(source, "PT");
  const pickle = entries.find(
    ({ name }) => name.endsWith(PICKLE) && name.indexOf("/") === name.length - PICKLE.length,
  );
  if (pickle === undefined) return undefined;
  const archive = pickle.name.slice(0, -PICKLE.length);
  const byName = new Map<string, ZipEntry>();
  for (const entry of entries) {
    if (byName.has(entry.name))
      throw broken("zip", `two entries named ${JSON.stringify(entry.name)}`, entry.offset);
    byName.set(entry.name, entry);
  }
  if (byName.has(`${archive}/constants.pkl`) || isBigEndian(source, byName.get(`${archive}/byteorder`))) {
    return undefined;
  }
  if (!pickle.stored) throw broken("zip", "a pickle that is compressed", pickle.offset);
  if (pickle.sizeBytes > PICKLE_BYTES_MAX) {
    throw broken(
      "limit",
      `a pickle of ${pickle.sizeBytes} bytes; at most ${PICKLE_BYTES_MAX} are read`,
      pickle.offset,
    );
  }
  const bytes = source.read(pickle.offset, pickle.sizeBytes);
  const views = namedViews(readPickle(bytes, pickle.offset, new CheckpointNames()));
  const spans = views.map((each) =>
    candidate(each, byName.get(`${archive}/data/${each.view.storage.key}`), pickle),
  );
  return { format: "pt", spans: withoutOverlaps(spans) };
}

function isBigEndian(source: ByteSource, entry: ZipEntry | undefined): boolean {
  if (entry === undefined || !entry.stored) return false;
  return Buffer.from(source.read(entry.offset, Math.min(entry.sizeBytes, 8))).toString("latin1") === "big";
}

/** The bytes a tensor lies on, once it is known that its storage has them. */
function candidate({ name, view }: NamedView, entry: ZipEntry | undefined, pickle: ZipEntry): TensorSpan {
  const { storage } = view;
  const tell = (rule: string, problem: string) =>
    broken(rule, `${problem} in ${JSON.stringify(name.slice(0, 80))}`, entry?.offset ?? pickle.offset);
  if (entry === undefined)
    throw tell("storage", `no entry for storage ${JSON.stringify(storage.key.slice(0, 40))}`);
  if (!entry.stored) throw tell("storage", "a storage that is compressed");
  const storageDType = ELEMENTS[storage.type]!;
  const dtype = view.dtype === undefined ? storageDType : ELEMENTS[view.dtype];
  if (dtype === undefined) throw tell("dtype", `the unknown dtype ${view.dtype}`);
  if (storage.elements * widthOf(storageDType) !== entry.sizeBytes) {
    throw tell(
      "storage",
      `a storage of ${storage.elements} elements in an entry of ${entry.sizeBytes} bytes`,
    );
  }
  const width = widthOf(dtype);
  const extent = extentOf(view);
  // Without type, a storage's offset still counts the tensor's own elements.
  if ((view.offset + extent) * width > entry.sizeBytes)
    throw tell("tensor", "a tensor past the end of its storage");
  const inOnePiece = isContiguous(view);
  const shape = inOnePiece ? [...view.shape] : [extent];
  const complex = dtype === "C128";
  return {
    name: inOnePiece ? name : `${name} (storage)`,
    dtype: complex ? "F64" : dtype,
    shape: complex ? [...shape, 2] : shape,
    offset: entry.offset + view.offset * width,
    sizeBytes: extent * width,
  };
}

function widthOf(dtype: DType | "C128"): number {
  return dtype === "C128" ? 16 : dtypeBits(dtype) / 8;
}

/** Elements from the view's first to its last, both counted. */
function extentOf({ shape, stride }: TensorView): number {
  let last = 0;
  for (const [axis, size] of shape.entries()) {
    if (size === 0) return 0;
    last += (size - 1) * stride[axis]!;
  }
  return last + 1;
}

/** Whether the elements lie in row-major order without gaps; the stride of an axis of one says nothing. */
function isContiguous({ shape, stride }: TensorView): boolean {
  if (shape.includes(0)) return true;
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && stride[axis] !== step) return false;
    step *= shape[axis]!;
  }
  return true;
}

/** By place; of spans that overlap the one that begins first, of those the largest, of those the first named. */
function withoutOverlaps(spans: TensorSpan[]): TensorSpan[] {
  const byPlace = spans.sort((a, b) => a.offset - b.offset || b.sizeBytes - a.sizeBytes);
  const kept: TensorSpan[] = [];
  let end = 0;
  for (const span of byPlace) {
    if (span.offset < end) continue;
    kept.push(span);
    end = span.offset + span.sizeBytes;
  }
  return kept;
}

function broken(rule: string, problem: string, offset: number) {
  return malformed("PT", { rule, problem, offset });
}
