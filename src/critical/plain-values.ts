import { VALUE_BYTES_MAX, VALUE_DEPTH_MAX } from "../limits.ts";
import type { ByteWriter } from "./byte-writer.ts";

/** Where a value ends that is left to the library. */
const NOT_PLAIN = -1;
/** Longest string written character by character; above it one native call is cheaper. */
const LOOP_LENGTH_MAX = 64;
/** What a head of any kind takes at most. */
const HEAD_BYTES_MAX = 9;

const hasOwn = Object.prototype.hasOwnProperty;

/**
 * Writes a value as MessagePack in one pass, to the byte what the library writes: objects, arrays, strings, numbers,
 * booleans, null and bigints of 64 bits, which is what nearly all values are. A commit finds the processor's caches
 * emptied by the wait for the disk before it: checking the value, packing it and copying the bytes by three large
 * pieces of code took it as long as all the rest.
 *
 * @returns `false`, and nothing written, for a value that holds anything else or may not be stored.
 */
export function writePlain(value: unknown, out: ByteWriter): boolean {
  const startBytes = out.position - out.start;
  const end = write(value, out, out.position, 0);
  out.position = end === NOT_PLAIN ? out.start + startBytes : end;
  return end !== NOT_PLAIN;
}

function write(value: unknown, out: ByteWriter, at: number, depth: number): number {
  switch (typeof value) {
    case "string":
      return writeText(value, out, at);
    case "number":
      return writeNumber(value, out, room(out, at, HEAD_BYTES_MAX));
    case "bigint":
      return writeBigint(value, out, room(out, at, HEAD_BYTES_MAX));
    case "boolean":
      return writeByte(value ? 0xc3 : 0xc2, out, at);
    case "object":
      if (value === null) return writeByte(0xc0, out, at);
      if (depth >= VALUE_DEPTH_MAX) return NOT_PLAIN;
      if (Array.isArray(value)) return writeArray(value, out, at, depth);
      if (Object.getPrototypeOf(value) !== Object.prototype || value.constructor !== Object) return NOT_PLAIN;
      return writeObject(value as Record<string, unknown>, out, at, depth);
    default:
      return NOT_PLAIN;
  }
}

/** Makes room behind `at`, which may move; returns where it is then. */
function room(out: ByteWriter, at: number, sizeBytes: number): number {
  if (at + sizeBytes <= out.capacityBytes) return at;
  out.position = at;
  out.ensure(sizeBytes);
  return out.position;
}

function writeByte(byte: number, out: ByteWriter, at: number): number {
  const to = room(out, at, 1);
  out.buffer[to] = byte;
  return to + 1;
}

function writeObject(value: Record<string, unknown>, out: ByteWriter, at: number, depth: number): number {
  let to = room(out, at, 3);
  const headBytes = to - out.start;
  to += 3;
  let size = 0;
  for (const name in value) {
    if (!hasOwn.call(value, name)) continue;
    if (name === "__proto__") return NOT_PLAIN;
    to = writeText(name, out, to);
    if (to === NOT_PLAIN) return NOT_PLAIN;
    to = write(value[name], out, to, depth + 1);
    if (to === NOT_PLAIN) return NOT_PLAIN;
    size++;
  }
  if (size > 0xffff) return NOT_PLAIN;
  const head = out.start + headBytes;
  out.buffer[head] = 0xde;
  out.buffer[head + 1] = size >>> 8;
  out.buffer[head + 2] = size;
  return to;
}

function writeArray(value: readonly unknown[], out: ByteWriter, at: number, depth: number): number {
  const { length } = value;
  if (length > 0xffff) return NOT_PLAIN;
  let to = room(out, at, 3);
  const { buffer } = out;
  if (length < 16) buffer[to++] = 0x90 | length;
  else {
    buffer[to++] = 0xdc;
    buffer[to++] = length >>> 8;
    buffer[to++] = length;
  }
  for (let index = 0; index < length; index++) {
    to = write(value[index], out, to, depth + 1);
    if (to === NOT_PLAIN) return NOT_PLAIN;
  }
  return to;
}

function writeText(text: string, out: ByteWriter, at: number): number {
  const { length } = text;
  if (length > LOOP_LENGTH_MAX) return writeLongText(text, out, at);
  const from = room(out, at, 2 + length);
  const { buffer } = out;
  let to = from;
  if (length < 32) buffer[to++] = 0xa0 | length;
  else {
    buffer[to++] = 0xd9;
    buffer[to++] = length;
  }
  for (let index = 0; index < length; index++) {
    const code = text.charCodeAt(index);
    if (code >= 0x80) return writeLongText(text, out, from);
    buffer[to++] = code;
  }
  return to;
}

function writeLongText(text: string, out: ByteWriter, at: number): number {
  const sizeBytes = Buffer.byteLength(text);
  if (sizeBytes > VALUE_BYTES_MAX) return NOT_PLAIN;
  if (!(text as unknown as { isWellFormed(): boolean }).isWellFormed()) return NOT_PLAIN;
  let to = room(out, at, HEAD_BYTES_MAX + sizeBytes);
  const { buffer } = out;
  if (sizeBytes < 32) buffer[to++] = 0xa0 | sizeBytes;
  else if (sizeBytes < 0x100) {
    buffer[to++] = 0xd9;
    buffer[to++] = sizeBytes;
  } else if (sizeBytes < 0x10000) {
    buffer[to++] = 0xda;
    buffer[to++] = sizeBytes >>> 8;
    buffer[to++] = sizeBytes;
  } else {
    buffer[to++] = 0xdb;
    to = buffer.writeUInt32BE(sizeBytes, to);
  }
  return to + buffer.write(text, to, sizeBytes, "utf8");
}

function writeNumber(value: number, out: ByteWriter, at: number): number {
  const { buffer, view } = out;
  let to = at;
  if (value >>> 0 === value) {
    if (value < 0x80) buffer[to++] = value;
    else if (value < 0x100) {
      buffer[to++] = 0xcc;
      buffer[to++] = value;
    } else if (value < 0x10000) {
      buffer[to++] = 0xcd;
      buffer[to++] = value >>> 8;
      buffer[to++] = value;
    } else {
      buffer[to] = 0xce;
      view.setUint32(to + 1, value);
      to += 5;
    }
  } else if (value >> 0 === value) {
    if (value >= -0x20) buffer[to++] = value;
    else if (value >= -0x80) {
      buffer[to++] = 0xd0;
      buffer[to++] = value;
    } else if (value >= -0x8000) {
      buffer[to] = 0xd1;
      view.setInt16(to + 1, value);
      to += 3;
    } else {
      buffer[to] = 0xd2;
      view.setInt32(to + 1, value);
      to += 5;
    }
  } else {
    buffer[to] = 0xcb;
    view.setFloat64(to + 1, value);
    to += 9;
  }
  return to;
}

function writeBigint(value: bigint, out: ByteWriter, at: number): number {
  if (BigInt.asIntN(64, value) !== value) return NOT_PLAIN;
  out.buffer[at] = 0xd3;
  out.view.setBigInt64(at + 1, value);
  return at + 9;
}
