import { StoreError } from "../../src/errors.ts";
import { ROW_BYTES_MAX, TABLE_COLUMNS_MAX } from "../../src/limits.ts";
import { textOf } from "../csv/builders.ts";
import { BARE, JSON_ESCAPED, JSON_NESTED, JSON_STRING } from "../csv/cells.ts";
import type { RowBlock, RowProblem } from "../csv/rows.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const LF = 0x0a;

/** Rows of one block at most. */
const BLOCK_ROWS = 4096;

/** A value of JSON as it stands in the file: numbers keep every digit. */
const SCALAR = /^(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)$/;

/**
 * Finds the fields of one JSON object a line, without parsing their values: a number beyond 2^53 would not survive
 * `JSON.parse`. Keys become columns in the order in which they first appear.
 */
export class ObjectScanner {
  readonly columns: Map<string, number>;
  readonly #growing: boolean;
  #rest: Uint8Array = new Uint8Array(0);
  #row = 0;
  #line = 0;
  /** The keys of the line before, where most lines have the same. */
  #expected: { key: string; bytes: Uint8Array; at: number }[] = [];

  /** With `names`, a key that is not among them is a problem; without, it becomes another column. */
  constructor(names?: readonly string[]) {
    this.columns = new Map(names?.map((name, at) => [name, at]));
    this.#growing = names === undefined;
  }

  *scan(chunk: Uint8Array, last: boolean, onProblem: (problem: RowProblem) => void): Generator<RowBlock> {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    let lines: [start: number, end: number][] = [];
    while (at < bytes.length) {
      const lf = bytes.indexOf(LF, at);
      if (lf < 0 && !last) break;
      const end = lf < 0 ? bytes.length : lf;
      lines.push([at, end]);
      at = lf < 0 ? end : lf + 1;
      if (lines.length === BLOCK_ROWS) {
        yield* this.#block(bytes, lines, onProblem);
        lines = [];
      }
    }
    yield* this.#block(bytes, lines, onProblem);
    this.#rest = new Uint8Array(bytes.subarray(at));
    if (this.#rest.length > ROW_BYTES_MAX) {
      throw new StoreError("ERR_LIMIT", `line ${this.#line + 1} is longer than ${ROW_BYTES_MAX} bytes`, {
        context: { line: this.#line + 1 },
        hint: "Newline-delimited JSON has one object a line.",
      });
    }
  }

  *#block(
    bytes: Uint8Array,
    lines: [number, number][],
    onProblem: (problem: RowProblem) => void,
  ): Generator<RowBlock> {
    const found: { cells: Cells; row: number }[] = [];
    for (const [start, end] of lines) {
      this.#line += 1;
      const cells = new Cells();
      const result = this.#object(bytes, start, end, cells);
      if (result === "blank") continue;
      this.#row += 1;
      if (result === undefined) found.push({ cells, row: this.#row });
      else onProblem({ row: this.#row, line: this.#line, what: result });
    }
    if (found.length === 0) return;
    const width = this.columns.size;
    const starts = new Int32Array(found.length * width);
    const ends = new Int32Array(found.length * width);
    const forms = new Uint8Array(found.length * width);
    const numbers = new Float64Array(found.length);
    found.forEach(({ cells, row }, index) => {
      numbers[index] = row;
      for (let i = 0; i < cells.list.length; i += 4) {
        const cell = index * width + cells.list[i]!;
        starts[cell] = cells.list[i + 1]!;
        ends[cell] = cells.list[i + 2]!;
        forms[cell] = cells.list[i + 3]!;
      }
    });
    yield { bytes, rows: found.length, width, starts, ends, forms, numbers };
  }

  /** Reads one line; what is wrong with it, `blank`, or nothing. */
  #object(bytes: Uint8Array, from: number, to: number, cells: Cells): string | undefined {
    let at = skipSpace(bytes, from, to);
    if (at === to) return "blank";
    if (bytes[at] !== 0x7b) return "it is no JSON object";
    at = skipSpace(bytes, at + 1, to);
    let order = 0;
    const seen = new Set<number>();
    while (bytes[at] !== 0x7d || at >= to) {
      if (at >= to || bytes[at] !== QUOTE) return "a key is missing, or the object is cut short";
      const keyEnd = stringEnd(bytes, at, to);
      if (keyEnd < 0) return "a string in it is never closed";
      const column = this.#column(bytes, at + 1, keyEnd - 1, order++);
      if (typeof column === "string") return column;
      if (seen.has(column)) return `the key ${JSON.stringify([...this.columns.keys()][column])} comes twice`;
      seen.add(column);
      at = skipSpace(bytes, keyEnd, to);
      if (at >= to || bytes[at] !== 0x3a) return "a colon is missing after a key";
      at = skipSpace(bytes, at + 1, to);
      const next = readValue(bytes, at, to, column, cells);
      if (next < 0) return "a value in it is no JSON";
      at = skipSpace(bytes, next, to);
      if (at < to && bytes[at] === 0x2c) {
        at = skipSpace(bytes, at + 1, to);
        if (bytes[at] === 0x7d) return "a comma stands before the closing brace";
      } else if (at >= to || bytes[at] !== 0x7d) return "a comma is missing, or the object is cut short";
    }
    return skipSpace(bytes, at + 1, to) === to ? undefined : "text follows the object";
  }

  #column(bytes: Uint8Array, start: number, end: number, order: number): number | string {
    const expected = this.#expected[order];
    if (expected !== undefined && sameBytes(expected.bytes, bytes, start, end)) return expected.at;
    const form = bytes.subarray(start, end).includes(BACKSLASH) ? JSON_ESCAPED : JSON_STRING;
    const text = textOf(bytes, start, end, form);
    if (text === undefined) return "a key is no UTF-8";
    const key = Buffer.from(text).toString("utf8");
    let at = this.columns.get(key);
    if (at === undefined) {
      if (!this.#growing) return `it has a field ${JSON.stringify(key)} that the table has not`;
      at = this.columns.size;
      if (at >= TABLE_COLUMNS_MAX) {
        throw new StoreError("ERR_LIMIT", `the file has over ${TABLE_COLUMNS_MAX} different keys`, {
          context: { line: this.#line },
          hint: "Keys are columns: keep what varies from row to row in values.",
        });
      }
      this.columns.set(key, at);
    }
    this.#expected[order] = { key, bytes: new Uint8Array(bytes.subarray(start, end)), at };
    return at;
  }
}

/** Cells of one line: column, start, end, form, one after the other. */
class Cells {
  readonly list: number[] = [];
}

/** Notes where a value lies; -1 when it is none, else where it ends. */
function readValue(bytes: Uint8Array, at: number, to: number, column: number, cells: Cells): number {
  const first = bytes[at];
  if (first === QUOTE) {
    const end = stringEnd(bytes, at, to);
    if (end < 0) return -1;
    const escaped = bytes.subarray(at + 1, end - 1).includes(BACKSLASH);
    cells.list.push(column, at + 1, end - 1, escaped ? JSON_ESCAPED : JSON_STRING);
    return end;
  }
  if (first === 0x7b || first === 0x5b) {
    const end = nestedEnd(bytes, at, to);
    if (end > 0) cells.list.push(column, at, end, JSON_NESTED);
    return end;
  }
  let end = at;
  while (end < to && !isBreak(bytes[end]!)) end += 1;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + at, end - at).toString("latin1");
  if (!SCALAR.test(text)) return -1;
  if (text !== "null") cells.list.push(column, at, end, BARE);
  return end;
}

function isBreak(byte: number): boolean {
  return byte === 0x2c || byte === 0x7d || byte === 0x5d || byte <= 0x20;
}

function skipSpace(bytes: Uint8Array, from: number, to: number): number {
  let at = from;
  while (at < to && (bytes[at] === 0x20 || bytes[at] === 0x09 || bytes[at] === 0x0d)) at += 1;
  return at;
}

/** Past the closing quote of the string that begins at `at`; -1 without one. */
function stringEnd(bytes: Uint8Array, at: number, to: number): number {
  for (let i = at + 1; i < to; i++) {
    if (bytes[i] === BACKSLASH) i += 1;
    else if (bytes[i] === QUOTE) return i + 1;
  }
  return -1;
}

function nestedEnd(bytes: Uint8Array, at: number, to: number): number {
  let depth = 0;
  for (let i = at; i < to; i++) {
    const byte = bytes[i]!;
    if (byte === QUOTE) {
      i = stringEnd(bytes, i, to) - 1;
      if (i < 0) return -1;
    } else if (byte === 0x7b || byte === 0x5b) depth += 1;
    else if ((byte === 0x7d || byte === 0x5d) && --depth === 0) return i + 1;
  }
  return -1;
}

function sameBytes(expected: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start !== expected.length) return false;
  for (let i = 0; i < expected.length; i++) if (bytes[start + i] !== expected[i]) return false;
  return true;
}
