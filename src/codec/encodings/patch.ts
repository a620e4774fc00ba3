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

export interface PatchRun {
  /** In units from the chunk's start. */
  from: number;
  units: number;
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

/** The payload for runs in ascending order that do not touch; `chunk` holds their new bytes. */
export function encodePatch(chunk: Uint8Array, unit: number, runs: PatchRun[]): Uint8Array {
  const dataBytes = runs.reduce((sum, run) => sum + run.units * unit, 0);
  const payload = new Uint8Array(VARINT_BYTES * (2 + 2 * runs.length) + dataBytes);
  let at = putVarint(payload, 0, unit);
  at = putVarint(payload, at, runs.length);
  let end = 0;
  for (const run of runs) {
    at = putVarint(payload, at, run.from - end);
    at = putVarint(payload, at, run.units);
    end = run.from + run.units;
  }
  for (const { from, units } of runs) {
    payload.set(chunk.subarray(from * unit, (from + units) * unit), at);
    at += units * unit;
  }
  return payload.subarray(0, at);
}

/**
 * Writes a patch's bytes over a chunk. The payload is untrusted.
 * @throws `ERR_STORE_CORRUPT` for runs outside the chunk, or a payload that is too short or too long
 */
export function applyPatch(payload: Uint8Array, target: Uint8Array): void {
  const reader = { payload, at: 0 };
  const unit = takeVarint(reader);
  const runs = takeVarint(reader);
  if (unit === 0) throw corrupt("patch", "has units of no bytes");
  const list = { payload, at: reader.at };
  let dataAt = endOfRuns(reader, runs);
  let end = 0;
  for (let i = 0; i < runs; i++) {
    const from = end + takeVarint(list) * unit;
    end = from + takeVarint(list) * unit;
    const dataEnd = dataAt + end - from;
    if (end > target.length) throw corrupt("patch", `writes up to byte ${end} of ${target.length}`);
    if (dataEnd > payload.length) throw corrupt("patch", "ends before its last run");
    target.set(payload.subarray(dataAt, dataEnd), from);
    dataAt = dataEnd;
  }
  if (dataAt !== payload.length) throw corrupt("patch", "goes on after its last run");
}

/** Walks over the list of runs: their bytes begin behind it. */
function endOfRuns(reader: Reader, runs: number): number {
  for (let i = 0; i < runs * 2; i++) takeVarint(reader);
  return reader.at;
}

interface Reader {
  payload: Uint8Array;
  at: number;
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
    const byte = reader.payload[reader.at++];
    if (byte === undefined) throw corrupt("patch", "ends in its list of runs");
    value |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) return value;
  }
  throw corrupt("patch", "has a number over 2^21");
}
