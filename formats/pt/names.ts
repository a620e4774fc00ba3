import { PICKLE_RANK_MAX, PICKLE_TENSORS_MAX } from "../../src/limits.ts";
import type { PickleFail, PickleNames } from "./pickle.ts";
import {
  PickleDict,
  PickleGlobal,
  PickleObject,
  PickleSequence,
  type PickleValue,
  StorageHandle,
  TensorView,
} from "./pickle-values.ts";

/** Classes of storages, by the element type they hold. */
const STORAGES = [
  "BFloat16Storage",
  "BoolStorage",
  "ByteStorage",
  "CharStorage",
  "ComplexDoubleStorage",
  "ComplexFloatStorage",
  "DoubleStorage",
  "FloatStorage",
  "HalfStorage",
  "IntStorage",
  "LongStorage",
  "QInt32Storage",
  "QInt8Storage",
  "QUInt8Storage",
  "ShortStorage",
] as const;

/** Functions that make a tensor of a storage: the arguments stand in this order. */
const REBUILD: Record<string, { dtypeAt?: number }> = {
  "torch._utils._rebuild_tensor": {},
  "torch._utils._rebuild_tensor_v2": {},
  "torch._utils._rebuild_tensor_v3": { dtypeAt: 6 },
  "torch._utils._rebuild_qtensor": {},
};

/** Functions whose first argument is the tensor they wrap. */
const WRAP = new Set([
  "torch._utils._rebuild_parameter",
  "torch._utils._rebuild_parameter_with_state",
  "torch.nn.parameter.Parameter",
]);

/** Classes and functions whose instances are kept as plain parts, so that tensors inside them are found. */
const INERT = new Set([
  "torch.Size",
  "torch.device",
  "torch.Tensor",
  "torch._C._nn.Parameter",
  "torch.serialization._get_layout",
  "torch.per_tensor_affine",
  "torch.per_channel_affine",
  "torch._utils._rebuild_sparse_tensor",
  "argparse.Namespace",
  "types.SimpleNamespace",
  "pathlib.Path",
  "pathlib.PosixPath",
  "pathlib.PurePosixPath",
  "pathlib.WindowsPath",
  "datetime.datetime",
  "datetime.timedelta",
  "_codecs.encode",
  "numpy.dtype",
  "numpy.ndarray",
  "numpy.core.multiarray._reconstruct",
  "numpy.core.multiarray.scalar",
  "numpy._core.multiarray._reconstruct",
  "numpy._core.multiarray.scalar",
  ...["bool", "bytearray", "bytes", "complex", "float", "int", "range", "slice", "str", "object"].flatMap(
    builtin,
  ),
]);

const SEQUENCES = new Set(["collections.deque", ...["frozenset", "list", "set", "tuple"].flatMap(builtin)]);

const DICTS = new Set(["collections.OrderedDict", "collections.Counter", ...builtin("dict")]);

const TYPED_STORAGES = new Set(STORAGES.flatMap((name) => [`torch.${name}`, `torch.cuda.${name}`]));

const UNTYPED_STORAGES = new Set(["torch.storage.UntypedStorage", "torch.UntypedStorage"]);

const DTYPE_NAME = /^torch\.(b?float|complex|u?int|q?u?int|bool|double|half|long|short)[a-z0-9_]*$/;

function builtin(name: string): string[] {
  return [`builtins.${name}`, `__builtin__.${name}`];
}

function isAllowed(name: string): boolean {
  return (
    Object.hasOwn(REBUILD, name) ||
    [WRAP, INERT, SEQUENCES, DICTS, TYPED_STORAGES, UNTYPED_STORAGES].some((set) => set.has(name)) ||
    name === "collections.defaultdict" ||
    name === "torch._tensor._rebuild_from_type_v2" ||
    DTYPE_NAME.test(name)
  );
}

/**
 * The names a checkpoint may use and what they stand for. A name that is not here ends the reading: a pickle that
 * needs it would run somebody's code wherever it is loaded, and is no data.
 */
export class CheckpointNames implements PickleNames {
  #tensors = 0;

  global(module: string, name: string, fail: PickleFail): PickleValue {
    const full = `${module}.${name}`;
    if (isAllowed(full)) return new PickleGlobal(full);
    return fail("name", `the name ${JSON.stringify(full.slice(0, 120))}, which is not one that data needs`);
  }

  persistent(id: PickleValue, fail: PickleFail): PickleValue {
    const [tag, type, key, , elements] = id instanceof PickleSequence ? id.items : [];
    if (
      tag !== "storage" ||
      !(type instanceof PickleGlobal) ||
      typeof key !== "string" ||
      !isCount(elements)
    ) {
      return fail("storage", "a reference to something that is no storage");
    }
    const known = TYPED_STORAGES.has(type.name) || UNTYPED_STORAGES.has(type.name);
    if (!known) return fail("storage", `a storage of the class ${type.name}`);
    return new StorageHandle(key, type.name.slice(type.name.lastIndexOf(".") + 1), elements);
  }

  reduce(callable: PickleValue, args: PickleValue[], fail: PickleFail): PickleValue {
    if (!(callable instanceof PickleGlobal)) return fail("pickle", "a call of what is no name");
    const { name } = callable;
    const [first] = args;
    if (Object.hasOwn(REBUILD, name)) return this.#tensor(args, REBUILD[name]!.dtypeAt, fail);
    if (WRAP.has(name)) return first ?? new PickleObject(name, null);
    if (name === "torch._tensor._rebuild_from_type_v2") {
      const [rebuild, , parts] = args;
      // One level deep: what it wraps is a function of `REBUILD`.
      const wraps = rebuild instanceof PickleGlobal && Object.hasOwn(REBUILD, rebuild.name);
      if (!wraps || !(parts instanceof PickleSequence)) return fail("tensor", "a tensor without parts");
      return this.#tensor(parts.items, REBUILD[rebuild.name]!.dtypeAt, fail);
    }
    // Parts are shared, never copied: a pickle may name the same long list as often as it likes.
    if (first === undefined && DICTS.has(name)) return new PickleDict();
    if (name === "collections.defaultdict") return new PickleDict();
    if (first instanceof PickleDict && DICTS.has(name)) return first;
    if (first instanceof PickleSequence && SEQUENCES.has(name)) return first;
    return new PickleObject(name, new PickleSequence(args));
  }

  #tensor(args: PickleValue[], dtypeAt: number | undefined, fail: PickleFail): TensorView {
    if (++this.#tensors > PICKLE_TENSORS_MAX) return fail("limit", `more than ${PICKLE_TENSORS_MAX} tensors`);
    const [storage, offset, shape, stride] = args;
    const sizes = countsOf(shape, fail);
    const steps = countsOf(stride, fail);
    if (!(storage instanceof StorageHandle) || !isCount(offset) || sizes.length !== steps.length) {
      return fail("tensor", "a tensor whose storage, offset, shape or strides are none");
    }
    const type = dtypeAt === undefined ? undefined : args[dtypeAt];
    const dtype = type instanceof PickleGlobal ? type.name.slice("torch.".length) : undefined;
    return new TensorView({ storage, offset, shape: sizes, stride: steps, dtype });
  }
}

function countsOf(value: PickleValue | undefined, fail: PickleFail): number[] {
  let sequence = value;
  // torch.Size([2, 3])
  if (sequence instanceof PickleObject && sequence.parts instanceof PickleSequence)
    sequence = sequence.parts.items[0];
  if (!(sequence instanceof PickleSequence)) return fail("tensor", "a shape or strides that are no tuple");
  if (sequence.items.length > PICKLE_RANK_MAX) return fail("limit", `more than ${PICKLE_RANK_MAX} axes`);
  return sequence.items.map((item) =>
    isCount(item) ? item : fail("tensor", "a size that is no whole number"),
  );
}

function isCount(value: PickleValue | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
