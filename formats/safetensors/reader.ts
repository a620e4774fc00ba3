import { StoreError } from "../../src/errors.ts";
import {
  SAFETENSORS_HEADER_BYTES_MAX,
  SAFETENSORS_KEYS_MAX,
  SAFETENSORS_TENSORS_MAX,
  TENSOR_RANK_MAX,
} from "../../src/limits.ts";
import type { FileLayout, TensorSpan } from "../layout.ts";
import { type DType, describeShapeFault, formatShape, isDType, measureShape } from "../tensor.ts";
import { brokenRule, LENGTH_BYTES, METADATA_KEY, OPEN_BRACE, quoteName } from "./format.ts";
import { HeaderTokenizer } from "./tokenizer.ts";

const QUOTE = 0x22;
const SPACE = 0x20;
const OPEN_BRACKET = 0x5b;

export interface SafetensorsHeader {
  layout: FileLayout;
  /** `__metadata__`; empty when the file has none. */
  metadata: Map<string, string>;
}

/**
 * N, the length of the header in bytes (without the 8 bytes of N itself).
 *
 * @param first8 the file's first 8 bytes, or all of a shorter file; more is fine
 * @throws ERR_FORMAT_SAFETENSORS when the file has no room for N, or N is over 100,000,000 or past its end
 * @throws ERR_INVALID_ARGUMENT when fewer bytes are given than the file has
 */
export function readHeaderLength(first8: Uint8Array, fileSizeBytes: number): number {
  if (fileSizeBytes < LENGTH_BYTES) {
    throw brokenRule({
      rule: "header-length",
      problem: `the file has ${fileSizeBytes} bytes, too few for a header length`,
      offset: 0,
    });
  }
  if (first8.byteLength < LENGTH_BYTES) throw tooFewBytes(LENGTH_BYTES, first8.byteLength);
  const view = new DataView(first8.buffer, first8.byteOffset, LENGTH_BYTES);
  const length = view.getBigUint64(0, true);
  if (length > BigInt(SAFETENSORS_HEADER_BYTES_MAX)) {
    const problem = `a header of ${length} bytes; at most ${SAFETENSORS_HEADER_BYTES_MAX} are allowed`;
    throw brokenRule({ rule: "header-length", problem, offset: 0 });
  }
  if (LENGTH_BYTES + Number(length) > fileSizeBytes) {
    const problem = `a header of ${length} bytes in a file of ${fileSizeBytes}`;
    throw brokenRule({ rule: "header-length", problem, offset: 0 });
  }
  return Number(length);
}

/**
 * Reads a header as strictly as the reference reader and, where readers differ, as the format's description
 * says: the rules are in docs/formats/safetensors.md.
 *
 * @param headerBytes the file's first 8 + N bytes; more is fine. Only read during the call.
 * @returns the tensors by offset, those of equal place in the header's order
 * @throws ERR_FORMAT_SAFETENSORS with `context.rule`, `context.offset` (byte in the file) and, where one is
 * concerned, `context.tensor`
 * @throws ERR_INVALID_ARGUMENT when fewer than 8 + N bytes are given
 * @example
 * const length = readHeaderLength(first8, sizeBytes);
 * const { layout, metadata } = parseHeader(firstBytes(8 + length), sizeBytes);
 */
export function parseHeader(headerBytes: Uint8Array, fileSizeBytes: number): SafetensorsHeader {
  const dataStart = LENGTH_BYTES + readHeaderLength(headerBytes, fileSizeBytes);
  if (headerBytes.byteLength < dataStart) throw tooFewBytes(dataStart, headerBytes.byteLength);
  const tokens = new HeaderTokenizer(headerBytes.subarray(0, dataStart), LENGTH_BYTES);
  if (tokens.byte() !== OPEN_BRACE) tokens.fail("header-object", 'the header does not begin with "{"');

  const entries = new EntryTable(dataStart);
  const names = new Set<string>();
  let metadata: Map<string, string> | undefined;
  tokens.readObject((name, nameOffset) => {
    if (name === METADATA_KEY) {
      if (metadata !== undefined) tokens.fail("duplicate-key", `${METADATA_KEY} comes twice`, nameOffset);
      metadata = readMetadata(tokens);
      return;
    }
    if (names.has(name))
      tokens.fail("duplicate-name", `the tensor ${quoteName(name)} comes twice`, nameOffset);
    if (names.size === SAFETENSORS_TENSORS_MAX) {
      tokens.fail("limit", `more than ${SAFETENSORS_TENSORS_MAX} tensors`, nameOffset);
    }
    names.add(name);
    tokens.tensor = name;
    readEntry(tokens, name, entries);
    tokens.tensor = undefined;
  });
  while (tokens.byte() === SPACE) tokens.position++;
  if (!tokens.atEnd) tokens.fail("trailing-bytes", "the header goes on after its object");

  return {
    layout: { format: "safetensors", spans: entries.inFileOrder(fileSizeBytes) },
    metadata: metadata ?? new Map(),
  };
}

/** `{"key": "value", …}`: strings to strings, nothing else. */
function readMetadata(tokens: HeaderTokenizer): Map<string, string> {
  const metadata = new Map<string, string>();
  if (tokens.peek() !== OPEN_BRACE) tokens.fail("metadata", `${METADATA_KEY} is not an object`);
  tokens.readObject((key, keyOffset) => {
    if (metadata.has(key)) {
      tokens.fail("duplicate-key", `${METADATA_KEY} has the key ${quoteName(key)} twice`, keyOffset);
    }
    if (metadata.size === SAFETENSORS_KEYS_MAX) {
      tokens.fail("limit", `${METADATA_KEY} has more than ${SAFETENSORS_KEYS_MAX} keys`, keyOffset);
    }
    if (tokens.peek() !== QUOTE) {
      tokens.fail("metadata", `the value of ${quoteName(key)} in ${METADATA_KEY} is not a string`);
    }
    metadata.set(key, tokens.readString());
  });
  return metadata;
}

/** `{"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}` in any order, among fields that are ignored. */
function readEntry(tokens: HeaderTokenizer, name: string, entries: EntryTable): void {
  if (tokens.peek() !== OPEN_BRACE) tokens.fail("entry", "the entry is not an object");
  const entryOffset = tokens.position;
  let dtype: DType | undefined;
  let shape: number[] | undefined;
  let range: { start: number; end: number; offset: number } | undefined;
  let extraKeys: Set<string> | undefined;
  tokens.resetExtraKeys();
  tokens.readObject((field, fieldOffset) => {
    const twice = () => tokens.fail("duplicate-key", `the field ${field} comes twice`, fieldOffset);
    if (field === "dtype") {
      if (dtype !== undefined) twice();
      dtype = readDType(tokens);
    } else if (field === "shape") {
      if (shape !== undefined) twice();
      shape = readShape(tokens);
    } else if (field === "data_offsets") {
      if (range !== undefined) twice();
      range = readRange(tokens);
    } else {
      extraKeys ??= new Set();
      tokens.addExtraKey(extraKeys, field, fieldOffset);
      // Two containers hold it: the header and this entry.
      tokens.skipValue(2);
    }
  });
  if (dtype === undefined || shape === undefined || range === undefined) {
    const missing = dtype === undefined ? "dtype" : shape === undefined ? "shape" : "data_offsets";
    tokens.fail("entry", `the field ${missing} is missing`, entryOffset);
  } else {
    const sizeBytes = checkSize(tokens, dtype, shape, range);
    entries.add({ name, dtype, shape, offset: range.start, sizeBytes }, range.offset);
  }
}

function readDType(tokens: HeaderTokenizer): DType {
  if (tokens.peek() !== QUOTE) tokens.fail("dtype", "dtype is not a string");
  const offset = tokens.position;
  const text = tokens.readString();
  return isDType(text) ? text : tokens.fail("dtype", `the unknown dtype ${quoteName(text)}`, offset);
}

function readShape(tokens: HeaderTokenizer): number[] {
  if (tokens.peek() !== OPEN_BRACKET) tokens.fail("shape", "shape is not an array");
  const shape: number[] = [];
  tokens.readArray(() => {
    if (shape.length === TENSOR_RANK_MAX) tokens.fail("limit", `more than ${TENSOR_RANK_MAX} axes`);
    shape.push(tokens.readInteger());
  });
  return shape;
}

function readRange(tokens: HeaderTokenizer): { start: number; end: number; offset: number } {
  if (tokens.peek() !== OPEN_BRACKET) tokens.fail("data-offsets", "data_offsets is not an array");
  const offset = tokens.position;
  const values: number[] = [];
  tokens.readArray(() => {
    if (values.length === 2) tokens.fail("data-offsets", "data_offsets has more than two numbers", offset);
    values.push(tokens.readInteger());
  });
  const [start, end] = values;
  if (start === undefined || end === undefined) {
    return tokens.fail("data-offsets", "data_offsets has fewer than two numbers", offset);
  }
  if (start > end) tokens.fail("data-offsets", `data_offsets [${start}, ${end}] run backwards`, offset);
  return { start, end, offset };
}

function checkSize(
  tokens: HeaderTokenizer,
  dtype: DType,
  shape: number[],
  range: { start: number; end: number; offset: number },
): number {
  const measured = measureShape(dtype, shape);
  if (typeof measured !== "number") {
    const rule = measured === "partial-byte" ? "whole-bytes" : "overflow";
    const problem = `${dtype} ${formatShape(shape)} ${describeShapeFault(measured)}`;
    return tokens.fail(rule, problem, range.offset);
  }
  const given = range.end - range.start;
  if (given !== measured) {
    const problem = `${dtype} ${formatShape(shape)} takes ${measured} bytes but data_offsets span ${given}`;
    tokens.fail("size", problem, range.offset);
  }
  return measured;
}

/** The entries read so far, and where each one's data_offsets stand in the header, for messages. */
class EntryTable {
  readonly #dataStart: number;
  readonly #spans: TensorSpan[] = [];
  readonly #headerOffsets: number[] = [];
  #sorted = true;

  constructor(dataStart: number) {
    this.#dataStart = dataStart;
  }

  /** `span.offset` counts from the start of the data here, and from the start of the file in the result. */
  add(span: TensorSpan, headerOffset: number): void {
    const last = this.#spans.at(-1);
    if (last !== undefined && byPlace(last, span) > 0) this.#sorted = false;
    this.#spans.push(span);
    this.#headerOffsets.push(headerOffset);
  }

  /** The spans by place, once it is known that they cover the data exactly: from 0, touching, to the end. */
  inFileOrder(fileSizeBytes: number): TensorSpan[] {
    const order = Uint32Array.from({ length: this.#spans.length }, (_, index) => index);
    if (!this.#sorted) order.sort((a, b) => byPlace(this.#spans[a]!, this.#spans[b]!) || a - b);
    const ordered: TensorSpan[] = new Array(order.length);
    let covered = 0;
    order.forEach((index, place) => {
      const span = this.#spans[index]!;
      if (span.offset !== covered) {
        const fault = span.offset > covered ? "leaves a gap" : "overlaps the one before it";
        throw brokenRule({
          rule: "coverage",
          problem: `data that ${fault}: it starts at ${span.offset} where ${covered} is due,`,
          offset: this.#headerOffsets[index]!,
          tensor: span.name,
        });
      }
      covered += span.sizeBytes;
      span.offset += this.#dataStart;
      ordered[place] = span;
    });
    const dataBytes = fileSizeBytes - this.#dataStart;
    if (covered !== dataBytes) {
      const problem =
        covered > dataBytes
          ? `the tensors take ${covered} bytes but the file has only ${dataBytes}`
          : `${dataBytes - covered} bytes after the last tensor`;
      const offset = Math.min(fileSizeBytes, this.#dataStart + covered);
      throw brokenRule({ rule: "coverage", problem, offset });
    }
    return ordered;
  }
}

function byPlace(a: TensorSpan, b: TensorSpan): number {
  return a.offset - b.offset || a.sizeBytes - b.sizeBytes;
}

function tooFewBytes(neededBytes: number, givenBytes: number): StoreError {
  return new StoreError(
    "ERR_INVALID_ARGUMENT",
    `safetensors: ${givenBytes} bytes given where the file's first ${neededBytes} are needed`,
    { context: { neededBytes, givenBytes }, hint: "Read 8 + N bytes from the start of the file." },
  );
}
