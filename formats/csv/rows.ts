import { StoreError } from "../../src/errors.ts";
import { ROW_BYTES_MAX } from "../../src/limits.ts";
import { BARE, QUOTED, QUOTED_ESCAPED } from "./cells.ts";

/** Rows of a stretch of a file: where each cell lies in `bytes`, row after row. */
export interface RowBlock {
  bytes: Uint8Array;
  rows: number;
  /** Cells in a row. */
  width: number;
  starts: Int32Array;
  ends: Int32Array;
  forms: Uint8Array;
  /** Which row of the file each is, counted from 1; the header is none. */
  numbers: Float64Array;
}

/** A row that is not as wide as the header, or ends in the middle of a quoted cell. */
export interface RowProblem {
  row: number;
  line: number;
  what: string;
}

const QUOTE = 0x22;
const LF = 0x0a;
const CR = 0x0d;

/** Rows of one block at most: the memory for their cells is allocated before they are counted. */
const BLOCK_ROWS = 8192;

/**
 * Finds rows and cells, RFC 4180 with what is common beside it: LF or CRLF, quotes doubled within quotes. What is left
 * of a chunk after its last whole row waits for the next one.
 */
export class RowScanner {
  readonly #delimiter: number;
  #rest: Uint8Array = new Uint8Array(0);
  #width: number | undefined;
  #row = 0;
  #line = 1;
  #started = false;

  constructor(delimiter: number) {
    this.#delimiter = delimiter;
  }

  /** The rows that end within `chunk`, a block at a time. `last` ends the file. */
  *scan(chunk: Uint8Array, last: boolean, onProblem: (problem: RowProblem) => void): Generator<RowBlock> {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    if (!this.#started && (bytes.length >= 3 || last)) {
      this.#started = true;
      if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) bytes = bytes.subarray(3);
    }
    let at = 0;
    while (at < bytes.length) {
      const { block, next } = this.#block(bytes, at, last, onProblem);
      if (block !== undefined) yield block;
      if (next === at) break;
      at = next;
    }
    this.#rest = new Uint8Array(bytes.subarray(at));
    if (this.#rest.length > ROW_BYTES_MAX) {
      throw new StoreError(
        "ERR_LIMIT",
        `row ${this.#row + 1} (line ${this.#line}) is longer than ${ROW_BYTES_MAX} bytes`,
        {
          context: { row: this.#row + 1, line: this.#line },
          hint: "A quote that is never closed looks like this; so does a file that is no CSV.",
        },
      );
    }
  }

  #block(
    bytes: Uint8Array,
    from: number,
    last: boolean,
    onProblem: (problem: RowProblem) => void,
  ): { block: RowBlock | undefined; next: number } {
    const first = this.#width === undefined;
    const capacity = first ? 1 : BLOCK_ROWS;
    const cells = new CellList(first ? 256 : capacity * this.#width!);
    const numbers = new Float64Array(capacity);
    let rows = 0;
    let at = from;
    while (rows < capacity && at < bytes.length) {
      const before = cells.length;
      const scanned = this.#scanRow(bytes, at, last, cells);
      if (scanned.next < 0) {
        cells.length = before;
        break;
      }
      const blank = cells.length - before === 1 && cells.isBlank(before);
      this.#line += scanned.lines;
      at = scanned.next;
      if (blank && this.#width !== 1) {
        cells.length = before;
        continue;
      }
      const width = cells.length - before;
      this.#width ??= width;
      if (!first) this.#row += 1;
      const what =
        scanned.what ??
        (width === this.#width ? undefined : `it has ${width} cells, the header ${this.#width}`);
      if (what !== undefined) {
        cells.length = before;
        onProblem({ row: this.#row, line: this.#line - scanned.lines, what });
        continue;
      }
      numbers[rows++] = this.#row;
    }
    if (rows === 0) return { block: undefined, next: at };
    return { block: { bytes, rows, width: this.#width!, ...cells.arrays(), numbers }, next: at };
  }

  /** One row's cells. `next` is where the next one begins, -1 when this one does not end in `bytes`. */
  #scanRow(
    bytes: Uint8Array,
    from: number,
    last: boolean,
    cells: CellList,
  ): { next: number; lines: number; what?: string } {
    const delimiter = this.#delimiter;
    const end = bytes.length;
    let at = from;
    let lines = 1;
    let what: string | undefined;
    for (;;) {
      if (bytes[at] === QUOTE && at < end) {
        let form = QUOTED;
        const start = ++at;
        for (;;) {
          const close = bytes.indexOf(QUOTE, at);
          if (close < 0) {
            if (!last) return { next: -1, lines };
            cells.push(start, end, form);
            return { next: end, lines, what: "a quote in it is never closed" };
          }
          if (close + 1 === end && !last) return { next: -1, lines };
          if (bytes[close + 1] !== QUOTE || close + 1 === end) {
            at = close;
            break;
          }
          form = QUOTED_ESCAPED;
          at = close + 2;
        }
        for (let i = bytes.indexOf(LF, start); i >= 0 && i < at; i = bytes.indexOf(LF, i + 1)) lines += 1;
        cells.push(start, at, form);
        at += 1;
        const next = bytes[at];
        if (at < end && next !== delimiter && next !== LF && !(next === CR && bytes[at + 1] === LF)) {
          if (next === CR && at + 1 === end && !last) return { next: -1, lines };
          what = "text follows a closing quote";
          while (at < end && bytes[at] !== delimiter && bytes[at] !== LF) at += 1;
        }
        if (bytes[at] === CR && at < end) at += 1;
      } else {
        const start = at;
        let byte = 0;
        while (at < end) {
          byte = bytes[at]!;
          if (byte === delimiter || byte === LF) break;
          at += 1;
        }
        const cut = (at === end || byte === LF) && at > start && bytes[at - 1] === CR ? 1 : 0;
        cells.push(start, at - cut, BARE);
      }
      if (at >= end) {
        if (!last) return { next: -1, lines };
        return what === undefined ? { next: end, lines } : { next: end, lines, what };
      }
      if (bytes[at++] === LF) return what === undefined ? { next: at, lines } : { next: at, lines, what };
    }
  }
}

/** Places of cells, in arrays that grow. */
class CellList {
  length = 0;
  #starts: Int32Array;
  #ends: Int32Array;
  #forms: Uint8Array;

  constructor(capacity: number) {
    this.#starts = new Int32Array(capacity);
    this.#ends = new Int32Array(capacity);
    this.#forms = new Uint8Array(capacity);
  }

  push(start: number, end: number, form: number): void {
    if (this.length === this.#starts.length) this.#grow();
    this.#starts[this.length] = start;
    this.#ends[this.length] = end;
    this.#forms[this.length++] = form;
  }

  isBlank(at: number): boolean {
    return this.#starts[at] === this.#ends[at] && this.#forms[at] === BARE;
  }

  arrays(): Pick<RowBlock, "starts" | "ends" | "forms"> {
    return { starts: this.#starts, ends: this.#ends, forms: this.#forms };
  }

  #grow(): void {
    const capacity = Math.max(16, this.#starts.length * 2);
    const grown = <A extends Int32Array | Uint8Array>(from: A, to: A): A => {
      to.set(from);
      return to;
    };
    this.#starts = grown(this.#starts, new Int32Array(capacity));
    this.#ends = grown(this.#ends, new Int32Array(capacity));
    this.#forms = grown(this.#forms, new Uint8Array(capacity));
  }
}

/** A quoted cell's bytes as they are meant: without the doubling of quotes. */
export function unquoted(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const out = new Uint8Array(end - start);
  let length = 0;
  for (let at = start; at < end; at++) {
    out[length++] = bytes[at]!;
    if (bytes[at] === QUOTE) at += 1;
  }
  return out.subarray(0, length);
}
