/**
 * What a pickle describes, as plain data. Nothing here is ever called: a class or function of a pickle is its name,
 * an object is the name of its class beside what it was to be made of.
 */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleSequence
  | PickleDict
  | PickleGlobal
  | PickleObject
  | StorageHandle
  | TensorView;

/** A list, tuple or set. */
export class PickleSequence {
  readonly items: PickleValue[];

  constructor(items: PickleValue[]) {
    this.items = items;
  }
}

/** A dict of any kind, in order; a key that comes twice stands twice. */
export class PickleDict {
  readonly entries: [key: PickleValue, value: PickleValue][] = [];
  /** Attributes set on the dict itself (`_metadata` of a state dict). */
  attributes: PickleValue = null;
}

/** A name of the allow-list. */
export class PickleGlobal {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

/** An instance of something on the allow-list that holds no tensor data of its own. */
export class PickleObject {
  readonly of: string;
  readonly parts: PickleValue;
  attributes: PickleValue = null;

  constructor(of: string, parts: PickleValue) {
    this.of = of;
    this.parts = parts;
  }
}

/** A run of elements in an entry of the archive. */
export class StorageHandle {
  readonly key: string;
  /** The storage's class: `FloatStorage`, `UntypedStorage`. */
  readonly type: string;
  readonly elements: number;

  constructor(key: string, type: string, elements: number) {
    this.key = key;
    this.type = type;
    this.elements = elements;
  }
}

/** A tensor: a strided view of a storage. Offsets, shape and strides count elements. */
export class TensorView {
  readonly storage: StorageHandle;
  readonly offset: number;
  readonly shape: number[];
  readonly stride: number[];
  /** `float8_e4m3fn` and the like, for storages without a type. */
  readonly dtype: string | undefined;

  constructor(view: {
    storage: StorageHandle;
    offset: number;
    shape: number[];
    stride: number[];
    dtype?: string | undefined;
  }) {
    this.storage = view.storage;
    this.offset = view.offset;
    this.shape = view.shape;
    this.stride = view.stride;
    this.dtype = view.dtype;
  }
}
