import { type Codec, encodingName, type Profile } from "../../codec/codec.ts";
import type { Element } from "../../codec/element.ts";
import { ByteSink } from "./byte-sink.ts";
import type { ByteSource } from "./byte-source.ts";
import { bytesOf, type NumberArray, type NumberType, numberArray, numberWidth } from "./column.ts";

const PAGE_ROWS = 65_536;
const PLAIN = 0;
const DECIMAL_DELTA = 1;
const DELTA = 2;

/** A run of numbers in pages; returns what a person wants to know of how it is stored. */
export function writeNumbers(codec: Codec, sink: ByteSink, type: NumberType, values: NumberArray): string {
  const pages: ByteSink[] = [];
  let said = "";
  for (let from = 0; from < values.length; from += PAGE_ROWS) {
    const page = values.subarray(from, from + PAGE_ROWS);
    const candidates = [plain(codec, type, page), decimal(codec, type, page), delta(codec, type, page)];
    let best = candidates[0]!;
    for (const candidate of candidates)
      if (candidate && candidate.sink.length < best.sink.length) best = candidate;
    pages.push(best.sink);
    said ||= best.encoding;
  }
  for (const page of pages) sink.varint(page.length);
  for (const page of pages) sink.bytes(page.finish());
  return said || "empty";
}

interface Page {
  encoding: string;
  sink: ByteSink;
}

function body(codec: Codec, sink: ByteSink, values: NumberArray, element: Element): string {
  const profile: Profile = "compact";
  const { encoding, payload } = codec.encode({ bytes: bytesOf(values), element, bases: [], profile });
  sink.u8(encoding).bytes(payload);
  return encodingName(encoding);
}

function plain(codec: Codec, type: NumberType, values: NumberArray): Page {
  const sink = new ByteSink().u8(PLAIN);
  return { encoding: body(codec, sink, values, type), sink };
}

function delta(codec: Codec, type: NumberType, values: NumberArray): Page | undefined {
  if (type === "f64" || type === "f32") return undefined;
  const wide = new BigInt64Array(values.length);
  let last = 0n;
  for (let i = 0; i < values.length; i++) {
    const value = BigInt(values[i]!);
    wide[i] = zigzag(BigInt.asIntN(64, value - last));
    last = value;
  }
  const sink = new ByteSink().u8(DELTA);
  return { encoding: `delta ${body(codec, sink, wide, "i64")}`, sink };
}

function decimal(codec: Codec, type: NumberType, values: NumberArray): Page | undefined {
  if (type !== "f64") return undefined;
  for (let exponent = 0; exponent < 10; exponent++) {
    const scale = 10 ** exponent;
    let fits = true;
    const wide = new BigInt64Array(values.length);
    let last = 0;
    for (let i = 0; i < values.length && fits; i++) {
      const d = Math.round((values[i] as number) * scale);
      fits = Math.abs(d) < 2 ** 51 && Object.is(d / scale, values[i]);
      if (!fits) break;
      wide[i] = zigzag(BigInt(d - last));
      last = d;
    }
    if (!fits) continue;
    const sink = new ByteSink().u8(DECIMAL_DELTA).u8(exponent);
    return { encoding: `decimal(${exponent}) delta ${body(codec, sink, wide, "i64")}`, sink };
  }
  return undefined;
}

const zigzag = (value: bigint) => BigInt.asIntN(64, (value << 1n) ^ (value >> 63n));
const unzigzag = (value: bigint) => ((value >> 1n) & 0x7fffffffffffffffn) ^ -(value & 1n);

/** Where the pages of `count` numbers lie. */
export function numberPages(source: ByteSource, count: number): ByteSource[] {
  const sizes: number[] = [];
  for (let from = 0; from < count; from += PAGE_ROWS) sizes.push(source.varint(PAGE_ROWS * 16));
  return sizes.map((sizeBytes) => source.part(sizeBytes));
}

/** Numbers [from, to) of `count` in pages, into `out`. */
export function readNumbers(
  codec: Codec,
  pages: readonly ByteSource[],
  type: NumberType,
  count: number,
  from: number,
  to: number,
  out: NumberArray,
): void {
  for (let page = Math.floor(from / PAGE_ROWS); page * PAGE_ROWS < to; page++) {
    const start = page * PAGE_ROWS;
    const values = readPage(codec, pages[page]!, type, Math.min(PAGE_ROWS, count - start));
    const part = values.subarray(Math.max(from - start, 0), to - start);
    (out as Float64Array).set(part as Float64Array, Math.max(start - from, 0));
  }
}

function readPage(codec: Codec, page: ByteSource, type: NumberType, count: number): NumberArray {
  const source = page.again();
  const method = source.u8();
  const exponent = method === DECIMAL_DELTA ? source.u8() : 0;
  const encoding = source.u8();
  const payload = source.bytes(source.left);
  if (method === PLAIN) {
    const out = numberArray(type, count);
    codec.decode({ encoding, element: type, payload, bases: [] }, bytesOf(out));
    return out;
  }
  if (method !== DELTA && method !== DECIMAL_DELTA) throw source.corrupt(`unknown method ${method}`);
  const wide = new BigInt64Array(count);
  codec.decode({ encoding, element: "i64", payload, bases: [] }, bytesOf(wide));
  let last = 0n;
  for (let i = 0; i < count; i++) {
    last = BigInt.asIntN(64, last + unzigzag(wide[i]!));
    wide[i] = last;
  }
  const out = numberArray(type, count);
  if (method === DECIMAL_DELTA) {
    const scale = 10 ** Math.min(exponent, 22);
    for (let i = 0; i < count; i++) out[i] = Number(wide[i]) / scale;
  } else if (numberWidth(type) === 8) {
    bytesOf(out).set(bytesOf(wide));
  } else for (let i = 0; i < count; i++) out[i] = Number(wide[i]);
  return out;
}
