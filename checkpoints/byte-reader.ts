import { StoreError } from "../src/errors.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads what a `ByteWriter` wrote; anything it could not have written is `ERR_STORE_CORRUPT`. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #what: string;
  #at = 0;

  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes;
    this.#what = what;
  }

  fail(problem: string): never {
    throw new StoreError("ERR_STORE_CORRUPT", `${this.#what}, byte ${this.#at}: ${problem}`, {
      context: { what: this.#what, offset: this.#at },
      hint: "Run `varve check --read-data` to see which versions are affected.",
    });
  }

  /** A view of the next bytes. */
  raw(count: number): Uint8Array {
    if (count > this.#bytes.byteLength - this.#at) this.fail(`${count} bytes expected, the end found`);
    this.#at += count;
    return this.#bytes.subarray(this.#at - count, this.#at);
  }

  byte(): number {
    return this.raw(1)[0]!;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (value > Number.MAX_SAFE_INTEGER) this.fail("a number over 2^53 - 1");
      if (byte < 0x80) return value;
      scale *= 0x80;
    }
  }

  /** A count of things that take at least `minimumBytes` each: never more than the bytes left can hold. */
  count(minimumBytes: number): number {
    const count = this.varint();
    if (count * minimumBytes > this.#bytes.byteLength - this.#at)
      this.fail(`a count of ${count} that does not fit`);
    return count;
  }

  text(): string {
    const bytes = this.raw(this.varint());
    try {
      return decoder.decode(bytes);
    } catch {
      return this.fail("a name that is not UTF-8");
    }
  }

  /** Reads one of the magics, which are given in order of their versions, and returns it. */
  magic(...known: [string, ...string[]]): string {
    const expected = known.at(-1)!;
    const found = Buffer.from(this.raw(expected.length)).toString("latin1");
    if (found.slice(0, -1) === expected.slice(0, -1) && found > expected) {
      throw new StoreError(
        "ERR_STORE_VERSION",
        `${this.#what}: it has format ${found}, newer than ${expected}`,
        {
          hint: "Open the store with the varve that wrote it, or a newer one.",
        },
      );
    }
    if (!known.includes(found)) this.fail(`magic ${JSON.stringify(expected)} expected`);
    return found;
  }

  end(): void {
    if (this.#at !== this.#bytes.byteLength) this.fail("bytes after the end");
  }
}
