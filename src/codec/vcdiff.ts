/**
 * Decodes a VCDIFF delta (RFC 3284) of one or more windows with the default code table and no secondary compression,
 * as xdelta3 writes it. Bounded: it allocates `sizeBytes` and touches nothing outside delta, base and target.
 *
 *     header  D6 C3 C4 00 | indicator 0
 *     window  indicator u8 (1: copies from the base, 4: carries an Adler-32) | [segment length, segment position]
 *             | delta length | target length | delta indicator 0 | lengths of data, instructions, addresses
 *             | [Adler-32, 4 bytes] | data | instructions | addresses
 *
 * Integers are big-endian base 128. Returns undefined for anything else, or when the windows do not add up to exactly
 * `sizeBytes`.
 */
export function decodeVcdiff(delta: Uint8Array, base: Uint8Array, sizeBytes: number): Uint8Array | undefined {
  const header = [0xd6, 0xc3, 0xc4, 0, 0];
  if (header.some((byte, i) => delta[i] !== byte)) return undefined;
  const target = new Uint8Array(sizeBytes);
  const reader = new Reader(delta, header.length, delta.length);
  let at = 0;
  while (!reader.done) {
    const next = decodeWindow(reader, base, target, at);
    if (next === undefined || reader.failed) return undefined;
    at = next;
  }
  return at === sizeBytes ? target : undefined;
}

/** Reads forward within a range; past its end every read is 0 and `failed` is set, to be checked by the caller. */
class Reader {
  readonly bytes: Uint8Array;
  readonly end: number;
  at: number;
  failed = false;

  constructor(bytes: Uint8Array, at: number, end: number) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get done(): boolean {
    return this.at >= this.end;
  }

  u8(): number {
    if (this.at >= this.end) {
      this.failed = true;
      return 0;
    }
    return this.bytes[this.at++]!;
  }

  integer(): number {
    let value = 0;
    for (let digits = 0; digits < 5; digits++) {
      const byte = this.u8();
      value = value * 128 + (byte & 127);
      if (byte < 128) return value;
    }
    this.failed = true;
    return 0;
  }

  /** The next `sizeBytes` as a reader of their own. */
  section(sizeBytes: number): Reader {
    const from = this.at;
    if (sizeBytes > this.end - from) this.failed = true;
    else this.at += sizeBytes;
    return new Reader(this.bytes, from, this.at);
  }
}

/** Decodes one window into `target` from `start`; returns where it ended. */
function decodeWindow(
  reader: Reader,
  base: Uint8Array,
  target: Uint8Array,
  start: number,
): number | undefined {
  const indicator = reader.u8();
  if ((indicator & ~5) !== 0) return undefined;
  const segmentBytes = indicator & 1 ? reader.integer() : 0;
  const segmentAt = indicator & 1 ? reader.integer() : 0;
  if (segmentBytes + segmentAt > base.length) return undefined;
  reader.integer();
  const windowBytes = reader.integer();
  if (reader.u8() !== 0 || windowBytes > target.length - start) return undefined;
  const sizes = [reader.integer(), reader.integer(), reader.integer()] as const;
  if (indicator & 4) reader.section(4);
  const data = reader.section(sizes[0]);
  const instructions = reader.section(sizes[1]);
  const addresses = new AddressReader(reader.section(sizes[2]));
  if (reader.failed) return undefined;
  const segment = base.subarray(segmentAt, segmentAt + segmentBytes);
  const window = target.subarray(start, start + windowBytes);
  let at = 0;
  while (!instructions.done) {
    for (const { type, size, mode } of CODE_TABLE[instructions.u8()]!) {
      const runBytes = size === 0 ? instructions.integer() : size;
      if (instructions.failed || runBytes > windowBytes - at) return undefined;
      if (type === "add") {
        const added = data.section(runBytes);
        if (data.failed) return undefined;
        window.set(added.bytes.subarray(added.at, added.end), at);
      } else if (type === "run") {
        window.fill(data.u8(), at, at + runBytes);
      } else {
        const address = addresses.next(mode, segmentBytes + at);
        if (address === undefined) return undefined;
        copy(segment, window, address, at, runBytes);
      }
      at += runBytes;
    }
  }
  return at === windowBytes && !data.failed ? start + at : undefined;
}

/** Copies from segment followed by window; the source may overlap what it writes, which repeats it. */
function copy(segment: Uint8Array, window: Uint8Array, address: number, at: number, runBytes: number): void {
  const fromSegment = Math.min(runBytes, Math.max(segment.length - address, 0));
  if (fromSegment > 0) window.set(segment.subarray(address, address + fromSegment), at);
  let from = address + fromSegment - segment.length;
  const end = at + runBytes;
  for (let to = at + fromSegment; to < end; to++) window[to] = window[from++]!;
}

const NEAR = 4;
const SAME = 3;

/** Copy addresses with the caches of RFC 3284 section 5.1. */
class AddressReader {
  readonly #reader: Reader;
  readonly #near = new Array<number>(NEAR).fill(0);
  readonly #same = new Array<number>(SAME * 256).fill(0);
  #nextSlot = 0;

  constructor(reader: Reader) {
    this.#reader = reader;
  }

  /** Undefined unless the address lies before `here`. */
  next(mode: number, here: number): number | undefined {
    let address: number;
    if (mode === 0) address = this.#reader.integer();
    else if (mode === 1) address = here - this.#reader.integer();
    else if (mode < 2 + NEAR) address = this.#near[mode - 2]! + this.#reader.integer();
    else address = this.#same[(mode - 2 - NEAR) * 256 + this.#reader.u8()]!;
    if (this.#reader.failed || address < 0 || address >= here) return undefined;
    this.#near[this.#nextSlot] = address;
    this.#nextSlot = (this.#nextSlot + 1) % NEAR;
    this.#same[address % (SAME * 256)] = address;
    return address;
  }
}

interface Instruction {
  type: "add" | "run" | "copy";
  /** 0: the size follows as an integer. */
  size: number;
  mode: number;
}

/** The default code table of RFC 3284 section 5.6: what each instruction byte stands for. */
const CODE_TABLE: Instruction[][] = (() => {
  const add = (size: number): Instruction => ({ type: "add", size, mode: 0 });
  const copyOf = (size: number, mode: number): Instruction => ({ type: "copy", size, mode });
  const table: Instruction[][] = [[{ type: "run", size: 0, mode: 0 }]];
  for (let size = 0; size <= 17; size++) table.push([add(size)]);
  for (let mode = 0; mode < 9; mode++) {
    table.push([copyOf(0, mode)]);
    for (let size = 4; size <= 18; size++) table.push([copyOf(size, mode)]);
  }
  for (let mode = 0; mode < 6; mode++) {
    for (let addSize = 1; addSize <= 4; addSize++) {
      for (let size = 4; size <= 6; size++) table.push([add(addSize), copyOf(size, mode)]);
    }
  }
  for (let mode = 6; mode < 9; mode++) {
    for (let addSize = 1; addSize <= 4; addSize++) table.push([add(addSize), copyOf(4, mode)]);
  }
  for (let mode = 0; mode < 9; mode++) table.push([copyOf(4, mode), add(1)]);
  return table;
})();
