import { Packr, Unpackr } from "msgpackr";
import { StoreError } from "../errors.ts";
import { VALUE_BYTES_MAX, VALUE_DEPTH_MAX } from "../limits.ts";
import { ByteWriter } from "./byte-writer.ts";
import { writePlain } from "./plain-values.ts";

/**
 * Turns values into bytes and back. A small interface, so that a map may one day choose another encoding; its
 * number is kept in the snapshot beside the map's name.
 */
export interface ValueCodec {
  /**
   * Writes the bytes of `value`. Of a value that is refused nothing counts; taking it back is the caller's.
   *
   * @throws ERR_INVALID_ARGUMENT, ERR_LIMIT
   */
  encode(value: unknown, out: ByteWriter): void;
  /** The value in `source[0, lengthBytes)`; it shares no memory with `source`. @throws ERR_STORE_CORRUPT */
  decode(source: Uint8Array, lengthBytes: number): unknown;
}

const packr = new Packr({ useRecords: false, useBigIntExtension: true, moreTypes: true });
const unpackr = new Unpackr({
  useRecords: false,
  useBigIntExtension: true,
  moreTypes: true,
  copyBuffers: true,
});

/** MessagePack, with bigints of any size and byte arrays. −0 is stored as 0. */
export const messagePack: ValueCodec = {
  encode(value, out) {
    const before = out.position - out.start;
    if (writePlain(value, out)) checkSize(out.position - out.start - before);
    else {
      checkStorable(value, 0);
      const bytes = packr.pack(value);
      checkSize(bytes.byteLength);
      out.bytes(bytes);
    }
  },
  decode(source, lengthBytes) {
    try {
      return unpackr.unpack(source, lengthBytes as never);
    } catch (cause) {
      throw new StoreError("ERR_STORE_CORRUPT", "a stored value does not decode", { cause });
    }
  },
};

function checkSize(sizeBytes: number): void {
  if (sizeBytes <= VALUE_BYTES_MAX) return;
  throw new StoreError("ERR_LIMIT", `a value of ${sizeBytes} bytes is over the limit`, {
    context: { sizeBytes, limitBytes: VALUE_BYTES_MAX },
    hint: `Critical values may take ${VALUE_BYTES_MAX} encoded bytes; larger state belongs into a checkpoint or a series.`,
  });
}

/** The bytes of one value, one per character. @throws ERR_INVALID_ARGUMENT, ERR_LIMIT */
export function encodeText(value: unknown): string {
  const out = new ByteWriter(256, VALUE_BYTES_MAX * 2);
  messagePack.encode(value, out);
  return out.buffer.toString("latin1", 0, out.position);
}

/** The value, unless it is one that a map cannot hold. @throws ERR_INVALID_ARGUMENT, ERR_LIMIT */
export function storable<V>(value: V): V {
  checked.restart();
  messagePack.encode(value, checked);
  return value;
}

const CHECKED_BYTES = 64 << 10;
const checked = new ByteWriter(CHECKED_BYTES, VALUE_BYTES_MAX * 2);

/** Whether it has no lone surrogate, which would come back as another character. */
export const isWellFormed = (text: string): boolean =>
  (text as unknown as { isWellFormed(): boolean }).isWellFormed();

/** Refuses what would come back as something else than what was put. */
function checkStorable(value: unknown, depth: number): void {
  switch (typeof value) {
    case "string":
      if (!isWellFormed(value)) throw unstorable("a string with a lone surrogate");
      return;
    case "number":
    case "bigint":
    case "boolean":
    case "undefined":
      return;
    case "object":
      if (value !== null) checkObject(value, depth);
      return;
    default:
      throw unstorable(`a ${typeof value}`);
  }
}

function checkObject(value: object, depth: number): void {
  if (depth >= VALUE_DEPTH_MAX) {
    throw new StoreError("ERR_LIMIT", `a value is nested deeper than ${VALUE_DEPTH_MAX} levels`, {
      context: { limit: VALUE_DEPTH_MAX },
      hint: "Flatten the value, and check that it does not contain itself.",
    });
  }
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) checkStorable(value[i], depth + 1);
    return;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) {
    for (const name in value) {
      if (name === "__proto__") throw unstorable("a property named __proto__");
      if (!isWellFormed(name)) throw unstorable("a property whose name has a lone surrogate");
      checkStorable((value as Record<string, unknown>)[name], depth + 1);
    }
    return;
  }
  if (prototype === Uint8Array.prototype || value instanceof Buffer) return;
  throw unstorable(`an instance of ${prototype.constructor?.name ?? "a class"}`);
}

function unstorable(what: string): StoreError {
  return new StoreError("ERR_INVALID_ARGUMENT", `a critical value may not contain ${what}`, {
    hint: "Use plain objects, arrays, strings, numbers, bigints, booleans, null and Uint8Array.",
  });
}

/**
 * Freezes a decoded value through and through; `false` when it holds a byte array, which JavaScript cannot
 * freeze, so that the value must be decoded anew for each reader.
 */
export function freeze(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return true;
  if (ArrayBuffer.isView(value)) return false;
  let frozen = true;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) if (!freeze(value[i])) frozen = false;
  } else {
    for (const name in value) if (!freeze((value as Record<string, unknown>)[name])) frozen = false;
  }
  Object.freeze(value);
  return frozen;
}
