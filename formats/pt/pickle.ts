import { PICKLE_CONTAINERS_MAX, PICKLE_VALUES_MAX } from "../../src/limits.ts";
import { malformed } from "../malformed.ts";
import { PickleDict, PickleObject, PickleSequence, type PickleValue } from "./pickle-values.ts";

/** What a pickle's names mean; the machine itself knows none. */
export interface PickleNames {
  /** A class or function by its module and name; throws for one that is not allowed. */
  global(module: string, name: string, fail: PickleFail): PickleValue;
  /** What the pickle stores outside of itself. */
  persistent(id: PickleValue, fail: PickleFail): PickleValue;
  /** What calling `callable` with these arguments stands for. Nothing is called. */
  reduce(callable: PickleValue, args: PickleValue[], fail: PickleFail): PickleValue;
}

export type PickleFail = (rule: string, problem: string) => never;

/** Opcodes of protocols 2 to 5 that data needs. Source: `pickletools` of CPython 3.12. */
const OP = {
  mark: 0x28,
  emptyTuple: 0x29,
  stop: 0x2e,
  pop: 0x30,
  popMark: 0x31,
  dup: 0x32,
  binBytes: 0x42,
  shortBinBytes: 0x43,
  binFloat: 0x47,
  binInt: 0x4a,
  binInt1: 0x4b,
  binInt2: 0x4d,
  none: 0x4e,
  binPersId: 0x51,
  reduce: 0x52,
  binString: 0x54,
  shortBinString: 0x55,
  binUnicode: 0x58,
  emptyList: 0x5d,
  append: 0x61,
  build: 0x62,
  global: 0x63,
  dict: 0x64,
  appends: 0x65,
  binGet: 0x68,
  longBinGet: 0x6a,
  list: 0x6c,
  binPut: 0x71,
  longBinPut: 0x72,
  setItem: 0x73,
  tuple: 0x74,
  setItems: 0x75,
  emptyDict: 0x7d,
  proto: 0x80,
  newObj: 0x81,
  tuple1: 0x85,
  tuple2: 0x86,
  tuple3: 0x87,
  newTrue: 0x88,
  newFalse: 0x89,
  long1: 0x8a,
  long4: 0x8b,
  shortBinUnicode: 0x8c,
  binUnicode8: 0x8d,
  binBytes8: 0x8e,
  emptySet: 0x8f,
  addItems: 0x90,
  frozenSet: 0x91,
  newObjEx: 0x92,
  stackGlobal: 0x93,
  memoize: 0x94,
  frame: 0x95,
  byteArray8: 0x96,
} as const;

/** Bytes of an integer the machine reads; Python's are unbounded, a checkpoint's counters are not. */
const LONG_BYTES_MAX = 64;

/**
 * Runs a pickle as the data it is: a stack machine that builds lists, dicts and names, and calls nothing. Its work
 * and memory are bounded by the pickle's size.
 *
 * @param offset where the pickle lies in its file, for messages
 * @throws `ERR_FORMAT_PT` with `context.rule`: `pickle` for bytes that are none, `opcode` for one that is not allowed,
 * and what `names` throws.
 */
export function readPickle(bytes: Uint8Array, offset: number, names: PickleNames): PickleValue {
  return new PickleMachine(bytes, offset, names).run();
}

class PickleMachine {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #fileOffset: number;
  readonly #names: PickleNames;
  #at = 0;
  #pushed = 0;
  #containers = 0;
  #stack: PickleValue[] = [];
  readonly #marks: PickleValue[][] = [];
  readonly #memo = new Map<number, PickleValue>();
  readonly #fail: PickleFail = (rule, problem) => {
    throw malformed("PT", { rule, problem, offset: this.#fileOffset + this.#at });
  };

  constructor(bytes: Uint8Array, fileOffset: number, names: PickleNames) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#fileOffset = fileOffset;
    this.#names = names;
  }

  run(): PickleValue {
    for (;;) {
      const op = this.#byte();
      if (op === OP.stop) return this.#pop();
      if (!this.#scalar(op) && !this.#container(op) && !this.#structure(op)) {
        this.#at--;
        this.#fail("opcode", `the opcode 0x${op.toString(16)}, which data does not need`);
      }
    }
  }

  /** Numbers, texts, bytes, constants. */
  #scalar(op: number): boolean {
    switch (op) {
      case OP.none:
        return this.#push(null);
      case OP.newTrue:
        return this.#push(true);
      case OP.newFalse:
        return this.#push(false);
      case OP.binInt:
        return this.#push(this.#view.getInt32(this.#skip(4), true));
      case OP.binInt1:
        return this.#push(this.#byte());
      case OP.binInt2:
        return this.#push(this.#view.getUint16(this.#skip(2), true));
      case OP.long1:
        return this.#push(this.#long(this.#byte()));
      case OP.long4:
        return this.#push(this.#long(this.#size4()));
      case OP.binFloat:
        return this.#push(this.#view.getFloat64(this.#skip(8), false));
      case OP.binUnicode:
        return this.#push(this.#text(this.#size4()));
      case OP.shortBinUnicode:
        return this.#push(this.#text(this.#byte()));
      case OP.binUnicode8:
        return this.#push(this.#text(this.#size8()));
      case OP.binString:
      case OP.binBytes:
        return this.#push(this.#raw(this.#size4()));
      case OP.shortBinString:
      case OP.shortBinBytes:
        return this.#push(this.#raw(this.#byte()));
      case OP.binBytes8:
      case OP.byteArray8:
        return this.#push(this.#raw(this.#size8()));
      default:
        return false;
    }
  }

  /** Lists, tuples, dicts and sets. */
  #container(op: number): boolean {
    switch (op) {
      case OP.emptyList:
      case OP.emptyTuple:
      case OP.emptySet:
        return this.#push(new PickleSequence([]));
      case OP.emptyDict:
        return this.#push(new PickleDict());
      case OP.tuple:
      case OP.list:
      case OP.frozenSet:
        return this.#push(new PickleSequence(this.#popMark()));
      case OP.tuple1:
        return this.#push(new PickleSequence(this.#popMany(1)));
      case OP.tuple2:
        return this.#push(new PickleSequence(this.#popMany(2)));
      case OP.tuple3:
        return this.#push(new PickleSequence(this.#popMany(3)));
      case OP.append:
        return this.#extend([this.#pop()]);
      case OP.appends:
      case OP.addItems:
        return this.#extend(this.#popMark());
      case OP.dict: {
        const items = this.#popMark();
        this.#push(new PickleDict());
        return this.#setItems(items);
      }
      case OP.setItem:
        return this.#setItems(this.#popMany(2));
      case OP.setItems:
        return this.#setItems(this.#popMark());
      default:
        return false;
    }
  }

  /** The stack itself, the memo, names and objects. */
  #structure(op: number): boolean {
    switch (op) {
      case OP.proto: {
        const protocol = this.#byte();
        if (protocol < 2 || protocol > 5) this.#fail("pickle", `protocol ${protocol}; 2 to 5 are read`);
        return true;
      }
      case OP.frame:
        this.#size8();
        return true;
      case OP.mark:
        if (++this.#containers > PICKLE_CONTAINERS_MAX) this.#fail("limit", "too many marks");
        this.#marks.push(this.#stack);
        this.#stack = [];
        return true;
      case OP.pop:
        this.#pop();
        return true;
      case OP.popMark:
        this.#popMark();
        return true;
      case OP.dup: {
        const top = this.#pop();
        this.#push(top);
        return this.#push(top);
      }
      case OP.binPut:
        return this.#remember(this.#byte());
      case OP.longBinPut:
        return this.#remember(this.#view.getUint32(this.#skip(4), true));
      case OP.memoize:
        return this.#remember(this.#memo.size);
      case OP.binGet:
        return this.#recall(this.#byte());
      case OP.longBinGet:
        return this.#recall(this.#view.getUint32(this.#skip(4), true));
      case OP.global: {
        const module = this.#line();
        return this.#push(this.#names.global(module, this.#line(), this.#fail));
      }
      case OP.stackGlobal: {
        const [module, name] = this.#popMany(2);
        if (typeof module !== "string" || typeof name !== "string")
          this.#fail("pickle", "a name that is no text");
        return this.#push(this.#names.global(String(module), String(name), this.#fail));
      }
      case OP.binPersId:
        return this.#push(this.#names.persistent(this.#pop(), this.#fail));
      case OP.newObjEx:
        this.#pop();
        return this.#call();
      case OP.reduce:
      case OP.newObj:
        return this.#call();
      case OP.build:
        return this.#build();
      default:
        return false;
    }
  }

  #call(): boolean {
    const [callable, args] = this.#popMany(2);
    if (!(args instanceof PickleSequence)) this.#fail("pickle", "arguments that are no tuple");
    return this.#push(this.#names.reduce(callable!, (args as PickleSequence).items, this.#fail));
  }

  #build(): boolean {
    const [target, state] = this.#popMany(2);
    if (target instanceof PickleDict || target instanceof PickleObject) target.attributes = state!;
    return this.#push(target!);
  }

  #extend(items: PickleValue[]): boolean {
    const target = this.#stack.at(-1);
    if (!(target instanceof PickleSequence)) return this.#fail("pickle", "items appended to what is no list");
    for (const item of items) target.items.push(item);
    return true;
  }

  #setItems(items: PickleValue[]): boolean {
    let target = this.#stack.at(-1);
    // A dict of a class of its own (`defaultdict`) is an object here: its items are what matters.
    if (target instanceof PickleObject && target.parts instanceof PickleDict) target = target.parts;
    if (!(target instanceof PickleDict)) return this.#fail("pickle", "items set on what is no dict");
    if (items.length % 2 !== 0) this.#fail("pickle", "a key without a value");
    for (let i = 0; i < items.length; i += 2) target.entries.push([items[i]!, items[i + 1]!]);
    return true;
  }

  #remember(place: number): boolean {
    this.#memo.set(place, this.#stack.at(-1) ?? (this.#stack.length > 0 ? null : this.#empty()));
    return true;
  }

  #recall(place: number): boolean {
    const value = this.#memo.get(place);
    return value === undefined
      ? this.#fail("pickle", `memo ${place}, which was never set`)
      : this.#push(value);
  }

  #push(value: PickleValue): boolean {
    if (++this.#pushed > PICKLE_VALUES_MAX) this.#fail("limit", `more than ${PICKLE_VALUES_MAX} values`);
    if (typeof value === "object" && value !== null && ++this.#containers > PICKLE_CONTAINERS_MAX) {
      this.#fail("limit", `more than ${PICKLE_CONTAINERS_MAX} lists, dicts and objects`);
    }
    this.#stack.push(value);
    return true;
  }

  #pop(): PickleValue {
    const value = this.#stack.pop();
    return value === undefined ? this.#empty() : value;
  }

  #popMany(count: number): PickleValue[] {
    return this.#stack.length < count ? this.#empty() : this.#stack.splice(-count);
  }

  #popMark(): PickleValue[] {
    const items = this.#stack;
    this.#stack = this.#marks.pop() ?? this.#fail("pickle", "no mark where one is needed");
    return items;
  }

  #empty(): never {
    return this.#fail("pickle", "nothing on the stack where something is needed");
  }

  #byte(): number {
    return this.#bytes[this.#skip(1)]!;
  }

  /** Where the next bytes begin, once it is known that they are there. */
  #skip(sizeBytes: number): number {
    const at = this.#at;
    if (sizeBytes > this.#bytes.byteLength - at) this.#fail("pickle", "an end in the middle of the pickle");
    this.#at += sizeBytes;
    return at;
  }

  #size4(): number {
    return this.#view.getUint32(this.#skip(4), true);
  }

  #size8(): number {
    const size = this.#view.getBigUint64(this.#skip(8), true);
    return size > BigInt(this.#bytes.byteLength) ? this.#fail("pickle", `${size} bytes in it`) : Number(size);
  }

  #raw(sizeBytes: number): Uint8Array {
    const at = this.#skip(sizeBytes);
    return this.#bytes.subarray(at, at + sizeBytes);
  }

  /** Python also pickles lone surrogates, in bytes that are no UTF-8: they become U+FFFD, which only a name can show. */
  #text(sizeBytes: number): string {
    return Buffer.from(this.#raw(sizeBytes)).toString("utf8");
  }

  /** Two's complement, little-endian. */
  #long(sizeBytes: number): number | bigint {
    if (sizeBytes > LONG_BYTES_MAX) this.#fail("pickle", `an integer of ${sizeBytes} bytes`);
    const raw = this.#raw(sizeBytes);
    let value = 0n;
    for (let i = raw.byteLength - 1; i >= 0; i--) value = (value << 8n) | BigInt(raw[i]!);
    value = BigInt.asIntN(sizeBytes * 8, value);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0) this.#fail("pickle", "a line that does not end");
    const text = this.#text(end - this.#at);
    this.#at++;
    return text;
  }
}
