import { corrupt } from "../corrupt.ts";
import type { Encoding } from "../encoding.ts";

/**
 * What changed in a chunk, byte for byte, where the saver was told which rows did; nothing is looked for.
 *
 *     unit varint          bytes of what the runs count
 *     runs varint
 *     (gap varint, length varint){runs}    units left as they are since the last run, units of this one
 *     the runs' new bytes, one after the other
 *
 * A varint is LEB128. Patches are cheap to apply one after another, so chains of them may be long.
 */
export const PATCH_ID = 32;

/** Stretches of a chunk, in ascending order, that do not touch. */
export interface PatchRuns {
  /** Bytes that every bound is a multiple of. */
  unit: number;
  count: number;
  /** Where each begins and ends, in bytes from the chunk's start, one after the other. */
  bounds: Int32Array;
}

export const patch: Encoding = {
  id: PATCH_ID,
  name: "patch",
  // A comparison finds more than rows do: the other encodings are for savers without hints.
  encode: () => undefined,
  decode: (_workshop, { payload, bases }, target) => {
    const base = bases[0];
    if (base === undefined) throw corrupt("patch", "needs a base, the frame names none");
    if (base.length !== target.length) {
      throw corrupt("patch", `is for ${target.length} bytes, its base has ${base.length}`);
    }
    target.set(base);
    applyPatch(payload, target);
  },
};

/** The most a patch of these runs may take. */
export function patchBytesMax({ count, bounds }: PatchRuns): number {
  let dataBytes = 0;
  for (let i = 0; i < count; i++) dataBytes += bounds[i * 2 + 1]! - bounds[i * 2]!;
  return VARINT_BYTES * (2 + 2 * count) + dataBytes;
}

/** Writes the payload for runs of a chunk, which holds their new bytes, at `at` of `target`; returns where it ends. */
export function writePatch(target: Uint8Array, at: number, chunk: Uint8Array, runs: PatchRuns): number {
  const { unit, count, bounds } = runs;
  let to = putVarint(target, at, unit);
  to = putVarint(target, to, count);
  let end = 0;
  for (let i = 0; i < count; i++) {
    const from = bounds[i * 2]!;
    to = putVarint(target, to, (from - end) / unit);
    end = bounds[i * 2 + 1]!;
    to = putVarint(target, to, (end - from) / unit);
  }
  return chunk.byteOffset % 4 === 0 && unit % 4 === 0
    ? gatherWords(target, to, chunk, runs)
    : gatherBytes(target, to, chunk, runs);
}

/** Rows are short: word by word they are gathered sooner than by a call each. They move to their place together. */
function gatherWords(
  target: Uint8Array,
  at: number,
  chunk: Uint8Array,
  { count, bounds }: PatchRuns,
): number {
  const words = new Int32Array(chunk.buffer, chunk.byteOffset, chunk.byteLength >>> 2);
  makeRoom(chunk.byteLength);
  const gathered = dataWords;
  let size = 0;
  for (let i = 0; i < count; i++) {
    const end = bounds[i * 2 + 1]! >>> 2;
    for (let from = bounds[i * 2]! >>> 2; from < end; from++) gathered[size++] = words[from]!;
  }
  target.set(dataBytes.subarray(0, size * 4), at);
  return at + size * 4;
}

function gatherBytes(
  target: Uint8Array,
  at: number,
  chunk: Uint8Array,
  { count, bounds }: PatchRuns,
): number {
  let to = at;
  for (let i = 0; i < count; i++) {
    const [from, end] = [bounds[i * 2]!, bounds[i * 2 + 1]!];
    target.set(chunk.subarray(from, end), to);
    to += end - from;
  }
  return to;
}

/**
 * Writes a patch's bytes over a chunk. The payload is untrusted.
 * @throws `ERR_STORE_CORRUPT` for runs outside the chunk, or a payload that is too short or too long
 */
export function applyPatch(payload: Uint8Array, target: Uint8Array): void {
  patcher(target)(payload, 0, payload.byteLength);
}

/** Writes the patch that lies from `start` to `end` of `bytes` over a chunk. */
export type ApplyPatch = (bytes: Uint8Array, start: number, end: number) => void;

/** `applyPatch` for many patches of one chunk. Rows are short: a loop over words copies one sooner than a call would. */
export function patcher(target: Uint8Array): ApplyPatch {
  const { buffer, byteOffset, byteLength } = target;
  const words = byteOffset % 4 === 0 ? new Int32Array(buffer, byteOffset, byteLength >>> 2) : undefined;
  return (bytes, start, end) => {
    const { unit, runs, dataAt } = readRuns(bytes, start, end, byteLength);
    if (words !== undefined && unit % 4 === 0) copyWords(bytes.subarray(dataAt, end), words, runs);
    else copyBytes(bytes.subarray(dataAt, end), target, runs);
  };
}

function copyWords(data: Uint8Array, words: Int32Array, runs: number): void {
  makeRoom(data.byteLength);
  dataBytes.set(data);
  const [source, list] = [dataWords, runList];
  let at = 0;
  for (let i = 0; i < runs; i++) {
    const end = list[i * 2 + 1]! >>> 2;
    for (let to = list[i * 2]! >>> 2; to < end; to++) words[to] = source[at++]!;
  }
}

function copyBytes(data: Uint8Array, target: Uint8Array, runs: number): void {
  let at = 0;
  for (let i = 0; i < runs; i++) {
    const from = runList[i * 2]!;
    const sizeBytes = runList[i * 2 + 1]! - from;
    target.set(data.subarray(at, at + sizeBytes), from);
    at += sizeBytes;
  }
}

/** Where the runs of the patch that was read last begin and end, in bytes of the chunk; one a thread, like the words. */
let runList = new Int32Array(512);
/** A patch's new bytes, where they are words. */
let dataBytes = new Uint8Array(0);
let dataWords = new Int32Array(0);

function makeRoom(sizeBytes: number): void {
  if (dataBytes.byteLength >= sizeBytes) return;
  dataBytes = new Uint8Array(Math.ceil(sizeBytes / 4096) * 4096);
  dataWords = new Int32Array(dataBytes.buffer);
}

/** Reads a patch's list of runs, and checks all of it, before anything is written. */
function readRuns(payload: Uint8Array, start: number, end: number, chunkBytes: number) {
  const reader = { payload, at: start, end };
  const unit = takeVarint(reader);
  const runs = takeVarint(reader);
  if (unit === 0) throw corrupt("patch", "has units of no bytes");
  if (runs * 2 > end - reader.at) throw corrupt("patch", "ends in its list of runs");
  if (runList.length < runs * 2) runList = new Int32Array(runs * 3);
  const list = runList;
  let to = 0;
  let sizeBytes = 0;
  for (let i = 0; i < runs; i++) {
    const from = to + takeVarint(reader) * unit;
    to = from + takeVarint(reader) * unit;
    if (to > chunkBytes) throw corrupt("patch", `writes up to byte ${to} of ${chunkBytes}`);
    list[i * 2] = from;
    list[i * 2 + 1] = to;
    sizeBytes += to - from;
  }
  if (sizeBytes > end - reader.at) throw corrupt("patch", "ends before its last run");
  if (sizeBytes < end - reader.at) throw corrupt("patch", "goes on after its last run");
  return { unit, runs, dataAt: reader.at };
}

interface Reader {
  payload: Uint8Array;
  at: number;
  end: number;
}

/** A chunk is at most a MiB: three bytes hold every number of a patch. */
const VARINT_BYTES = 3;

function putVarint(target: Uint8Array, at: number, value: number): number {
  let rest = value;
  let place = at;
  while (rest >= 0x80) {
    target[place++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[place++] = rest;
  return place;
}

function takeVarint(reader: Reader): number {
  let value = 0;
  for (let i = 0; i < VARINT_BYTES; i++) {
    if (reader.at >= reader.end) throw corrupt("patch", "ends in its list of runs");
    const byte = reader.payload[reader.at++]!;
    value |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) return value;
  }
  throw corrupt("patch", "has a number over 2^21");
}
