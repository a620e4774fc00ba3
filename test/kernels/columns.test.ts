import { describe, expect, it } from "vitest";
import { loadColumnKernels } from "../../src/kernels/column-kernels.ts";
import { noise, SEED } from "../codec/seeded.ts";

/** The column kernels beside plain TypeScript that says the same in the simplest way. */
const kernels = await loadColumnKernels();
const { exports, memory, view, at } = kernels;

const wrap = (value: bigint) => BigInt.asIntN(64, value);
const put = (address: number, values: readonly bigint[]) =>
  values.forEach((value, i) => {
    view.setBigInt64(address + i * 8, wrap(value), true);
  });
const take = (address: number, count: number) =>
  Array.from({ length: count }, (_, i) => view.getBigInt64(address + i * 8, true));

const putBin = (bin: number, lower: bigint, bits: number, own: number) => {
  const entry = at.bins + bin * 32;
  view.setBigInt64(entry, lower, true);
  view.setBigUint64(entry + 8, BigInt.asUintN(bits, -1n), true);
  view.setUint8(entry + 16, bits);
  view.setUint8(entry + 17, own);
};

/** Integers of every size, some of them at the ends. */
function integers(count: number, seed: number): bigint[] {
  const next = noise(seed);
  return Array.from({ length: count }, () => {
    const wide = wrap((BigInt(next()) << 32n) | BigInt(next()));
    return [wide >> BigInt(next() % 64), 0n, -(2n ** 63n), 2n ** 63n - 1n][Math.max((next() % 12) - 8, 0)]!;
  });
}

const counts = [1, 2, 3, 4, 5, 7, 8, 9, 31, 1000, 1023, 1024];

describe("predictions", () => {
  /** What is predicted of x[i], by kind. */
  const predicted: ((x: bigint[], y: bigint[], i: number) => bigint)[] = [
    () => 0n,
    (x, _, i) => x[i - 1] ?? 17n,
    (x, _, i) => 2n * (x[i - 1] ?? 17n) - (x[i - 2] ?? (i === 0 ? 12n : 17n)),
    (_, y, i) => y[i]!,
    (x, y, i) => y[i]! + (i === 0 ? 17n : x[i - 1]! - y[i - 1]!),
    (_, y, i) => y[Math.max(i - 1, 0)]!,
  ];
  it.each([0, 1, 2, 3, 4, 5])("of kind %i leave what the plain ones leave, and come back", (kind) => {
    for (const count of counts) {
      const x = integers(count, SEED + count);
      const y = integers(count, SEED + count + 1);
      put(at.lattice, x);
      put(at.reference, y);
      exports.columnPredict(kind, at.lattice, at.reference, at.residual, count, 17n, 5n);
      expect(take(at.residual, count)).toEqual(x.map((value, i) => wrap(value - predicted[kind]!(x, y, i))));
      exports.columnRestore(kind, at.residual, at.reference, at.spare, count, 17n, 5n, 1);
      expect(take(at.spare, count)).toEqual(x);
    }
  });

  it("divide by what all differences share", () => {
    for (const step of [1n, 25n, 60_000_000n]) {
      const x = integers(100, SEED).map((value) => 7n + (value >> 40n) * step * 2n);
      put(at.residual, [...x, 7n, 7n + 2n * step]);
      const divisor = exports.columnDivisor(at.residual, 102);
      expect(divisor % (2n * step)).toBe(0n);
      exports.columnDivide(at.residual, 102, x[0]!, divisor);
      expect(take(at.residual, 100)).toEqual(x.map((value) => (value - x[0]!) / divisor));
    }
    put(at.residual, [5n, 5n, 5n]);
    expect(exports.columnDivisor(at.residual, 3)).toBe(0n);
  });
});

describe("decimals", () => {
  it("are the digits that give back the same bits, and nothing else is", () => {
    const values = [1.25, -0, 0, 0.1 + 0.2, 1e300, Number.NaN, 123.45, -7.5, 2 ** 51, 0.07];
    values.forEach((value, i) => {
      view.setFloat64(at.source + i * 8, value, true);
    });
    const wrong = exports.columnToDecimal(at.source, at.lattice, values.length, 100, 0, at.spare, 10);
    const isDecimal = (value: number) => {
      const digits = Math.round(value * 100);
      return Math.abs(digits) < 2 ** 51 && Object.is((digits + 0) / 100, value);
    };
    const misfits = values.flatMap((value, i) => (isDecimal(value) ? [] : [i]));
    expect(wrong).toBe(misfits.length);
    expect([...new Uint32Array(memory.buffer, at.spare, wrong)]).toEqual(misfits);
    exports.columnFromDecimal(at.lattice, at.reference, values.length, 100, 0);
    values.forEach((value, i) => {
      if (!misfits.includes(i))
        expect(Object.is(view.getFloat64(at.reference + i * 8, true), value)).toBe(true);
    });
  });
});

describe("multiples", () => {
  it("are the nearest integers and what is left in last places, and come back", () => {
    const base = 1 / 600;
    const values = [1 / 600, 0.1 + 0.2, -0, Number.NaN, 1e300, -7.5, 61_234.55 / 60, Infinity, 5e-324];
    values.forEach((value, i) => {
      view.setFloat64(at.source + i * 8, value, true);
    });
    const ordered = (bits: bigint) => (bits < 0n ? wrap(bits ^ (2n ** 63n - 1n)) : bits);
    const bitsOf = (value: number) => new BigInt64Array(Float64Array.of(value).buffer)[0]!;
    exports.columnToMultiples(at.source, at.lattice, at.residual, values.length, base);
    let last = 0n;
    const expected = values.map((value) => {
      const whole = value / base;
      if (Math.abs(whole) < 2 ** 51) last = BigInt(Math.round(whole));
      return { last, left: wrap(ordered(bitsOf(value)) - ordered(bitsOf(Number(last) * base))) };
    });
    expect(take(at.lattice, values.length)).toEqual(expected.map((one) => one.last));
    expect(take(at.residual, values.length)).toEqual(expected.map((one) => one.left));
    exports.columnFromMultiples(at.lattice, at.residual, at.reference, values.length, base);
    expect(take(at.reference, values.length)).toEqual(take(at.source, values.length));
  });
});

describe("bins", () => {
  it("sort as numbers do", () => {
    for (const count of counts) {
      const values = integers(count, SEED + count);
      put(at.residual, values);
      const sorted = exports.columnSort(at.residual, at.spare, count);
      expect(take(sorted, count)).toEqual(values.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
    }
  });

  it("never cut a run of equal values", () => {
    const values = Array.from({ length: 1000 }, (_, i) => BigInt(Math.floor(Math.sqrt(i)))).sort((a, b) =>
      Number(a - b),
    );
    put(at.spare, values);
    const cells = exports.columnCells(at.spare, 1000, 40, at.packed, 512);
    const ends = [...new Uint32Array(memory.buffer, at.packed, cells)];
    expect(ends.at(-1)).toBe(1000);
    for (const end of ends.slice(0, -1)) expect(values[end]).not.toBe(values[end - 1]);
  });

  it("give each residual its bin and take it back, raw bits of any width", () => {
    const next = noise(SEED);
    for (const widths of [
      [0],
      [0, 0, 3],
      [14, 9, 13],
      [28, 0, 15],
      [32, 1, 29],
      [64],
      [7, 0, 13, 40, 63],
      [56, 57, 33, 1],
    ]) {
      const bins = widths.length;
      const lowers = widths.map(
        (_, i) => -(2n ** 62n) * (bins > 1 ? 1n : 2n) + (2n ** 63n / BigInt(bins)) * BigInt(i),
      );
      widths.forEach((bits, i) => {
        putBin(i, lowers[i]!, bits, 0);
      });
      const values = Array.from({ length: 999 }, () => {
        const bin = next() % bins;
        const raw = BigInt.asUintN(
          Math.min(widths[bin]!, bins > 1 ? 60 : 64),
          (BigInt(next()) << 32n) | BigInt(next()),
        );
        return wrap(lowers[bin]! + raw);
      });
      put(at.residual, values);
      exports.columnTokens(at.residual, 999, bins, at.tokens);
      values.forEach((value, i) => {
        const bin = lowers.findLastIndex((lower) => lower <= value);
        expect(memory[at.tokens + i]).toBe(bin);
      });
      const bits = exports.columnPutRaw(at.residual, at.tokens, 999, at.packed);
      expect(bits).toBe(values.reduce((sum, _, i) => sum + widths[memory[at.tokens + i]!]!, 0));
      const widest = Math.max(...widths);
      for (const multiplier of [1n, 21n]) {
        const scaled = values.map((value, i) => {
          const lower = lowers[memory[at.tokens + i]!]!;
          return wrap(lower + (value - lower) * multiplier);
        });
        for (const summed of [0, 1]) {
          const read = exports.columnValues(
            at.tokens,
            999,
            at.packed,
            0,
            multiplier,
            widest,
            summed,
            77n,
            at.spare,
          );
          expect(read).toBe(bits);
          let sum = 77n;
          expect(take(at.spare, 999)).toEqual(
            scaled.map((value) => {
              sum = wrap(sum + value);
              return summed ? sum : value;
            }),
          );
        }
      }
    }
  });

  it("classify rows by the size of their change", () => {
    for (const count of counts) {
      for (const first of [1, 0]) {
        const values = integers(count + 1, SEED + count);
        put(at.source, values);
        const rows = first ? values.slice(0, count) : values.slice(1);
        exports.columnClasses(at.source + (first ? 0 : 8), count, first, 0, 9, 33, at.spare);
        rows.forEach((value, i) => {
          const change = wrap(value - (rows[i - 1] ?? (first ? value : values[0]!)));
          const size = BigInt.asUintN(64, (change << 1n) ^ (change >> 63n));
          const bits = size === 0n ? 0 : size.toString(2).length;
          expect(memory[at.spare + i]).toBe([0, 9, 33].filter((edge) => bits > edge).length);
        });
      }
    }
  });

  it("classify rows by their values, the last of equal ones", () => {
    const next = noise(SEED);
    for (const known of [[7n], [-1n, 2n ** 63n - 1n, 0n], [5n, 6n, 7n, 5n, 9n, 10n, 11n, -(2n ** 63n)]]) {
      for (const count of counts) {
        const values = Array.from({ length: count }, () =>
          next() % 5 === 0 ? 99n : known[next() % known.length]!,
        );
        put(at.source, values);
        put(at.counts, known);
        exports.columnValueClasses(at.source, count, at.counts, known.length, at.spare);
        expect([...memory.subarray(at.spare, at.spare + count)]).toEqual(
          values.map((value) => Math.max(known.lastIndexOf(value), 0)),
        );
      }
    }
  });

  it("mix contexts", () => {
    for (const by of [1, 2, 5, 8]) {
      const next = noise(by);
      const [base, more] = [0, 1].map(() =>
        Array.from({ length: 100 }, () => next() % (by === 1 ? 16 : Math.floor(32 / by))),
      );
      memory.set(base!, at.context);
      memory.set(more!, at.spare);
      exports.columnMixContexts(at.context, at.spare, 100, by);
      expect([...memory.subarray(at.context, at.context + 100)]).toEqual(
        base!.map((value, i) => value * by + more![i]!),
      );
    }
  });
});

describe("rows", () => {
  /** Rows of any kind from bins and raw bits, beside the kernels that each do one step. */
  it.each([0, 1, 2, 3, 4, 5])("of kind %i are what the steps give one by one", (kind) => {
    const next = noise(SEED + kind);
    for (const [power, divisor] of [
      [1n, 0],
      [100n, 0],
      [1n, 1000],
    ] as const) {
      const rows = 3000;
      const raw = Array.from({ length: rows }, () => BigInt(next() % 16));
      const y = Array.from({ length: rows }, () => BigInt(next()) - 2n ** 31n);
      put(at.kept, y);
      [0, 1].forEach((bin) => {
        putBin(bin, BigInt(bin * 16 - 9), 4, 0);
      });
      put(
        at.residual,
        raw.map((value) => value - 9n + BigInt(next() % 2) * 16n),
      );
      exports.columnTokens(at.residual, rows, 2, at.tokens);
      exports.columnPutRaw(at.residual, at.tokens, rows, at.packed);
      exports.columnScale(at.kept, at.reference, rows, power, divisor, -5n);
      exports.columnRestore(kind, at.residual, at.reference, at.lattice, rows, 17n, 5n, 1);
      const expected = take(at.lattice, rows);
      view.setBigInt64(at.rowsState, 17n, true);
      view.setBigInt64(at.rowsState + 8, 5n, true);
      view.setBigInt64(at.rowsState + 16, 1n, true);
      view.setBigInt64(at.rowsState + 24, power, true);
      view.setFloat64(at.rowsState + 32, divisor, true);
      view.setBigInt64(at.rowsState + 40, -5n, true);
      view.setFloat64(at.rowsState + 48, 100, true);
      let bit = 0;
      for (let row = 0; row < rows; row += 2048) {
        const count = Math.min(2048, rows - row);
        const keep = at.kept + 65_536 * 8 + row * 8;
        bit = exports.columnRows(
          kind,
          at.tokens + row,
          count,
          at.packed,
          bit,
          4,
          at.kept + row * 8,
          row === 0 ? 1 : 0,
          keep,
          1,
          8,
          at.source + row * 8,
        );
      }
      expect(bit).toBe(rows * 4);
      expect(take(at.kept + 65_536 * 8, rows)).toEqual(expected);
      expected.forEach((value, i) => {
        if (value < 2n ** 51n && value > -(2n ** 51n))
          expect(view.getFloat64(at.source + i * 8, true)).toBe(Number(value) / 100);
      });
    }
  });
});

describe("the coder of bins", () => {
  const bins = 3;
  const modes = [
    { mode: 0, contexts: 4, hasOthers: true, hasClass: true },
    { mode: 1, contexts: 1, hasOthers: false, hasClass: false },
    { mode: 2, contexts: 2, hasOthers: false, hasClass: true },
    { mode: 3, contexts: 4, hasOthers: true, hasClass: false },
  ];
  /** The format's words in their plainest form, with the frequencies and contexts that lie in memory. */
  function decodePlainly(stream: Uint8Array, count: number, bits: number, classes: number[]): number[] {
    const words = new DataView(stream.buffer, stream.byteOffset, stream.length);
    const lanes = count < 4096 ? 4 : 16;
    const states = Array.from({ length: lanes }, (_, lane) => words.getUint32(lane * 4, true));
    const tokens: number[] = new Array(count).fill(0);
    let next = lanes * 4;
    for (let first = 0; first < count; first += 16_384) {
      const rows = Math.min(16_384, count - first);
      const length = Math.ceil(rows / lanes);
      for (let i = 0; i < length; i++) {
        for (let lane = 0; lane < lanes && lane * length + i < rows; lane++) {
          const row = first + lane * length + i;
          const context = memory[at.context + row]! + (i === 0 ? 0 : classes[tokens[row - 1]!]!);
          const frequencies = new Uint16Array(memory.buffer, at.frequencies + context * 512, bins);
          let left = states[lane]! % 2 ** bits;
          let bin = 0;
          while (left >= frequencies[bin]!) left -= frequencies[bin++]!;
          tokens[row] = bin;
          let state = frequencies[bin]! * Math.floor(states[lane]! / 2 ** bits) + left;
          if (state < 2 ** 15) {
            state = state * 65_536 + words.getUint16(next, true);
            next += 2;
          }
          states[lane] = state;
        }
      }
    }
    expect(next).toBe(stream.length);
    expect(new Set(states)).toEqual(new Set([2 ** 15]));
    return tokens;
  }

  for (const bits of [9, 10, 11, 12]) {
    it(`decodes what it coded with ${bits} bits, by context and class, and notices any other stream`, () => {
      // The same in every run: of all the streams with a flipped bit, one in some hundred thousand ends as it should.
      const next = noise(bits);
      const rest = (1 << bits) - 48;
      // Beyond these, with lanes of their own from 4,096 on, and stretches of 16,384 rows that lanes divide.
      for (const count of [...counts, 4095, 4096, 4097, 16_383, 16_384, 16_385, 36_001]) {
        for (const { mode, contexts, hasOthers, hasClass } of modes) {
          for (let c = 0; c < contexts; c++)
            new Uint16Array(memory.buffer, at.frequencies + c * 512, bins).set([
              rest >> 1,
              (rest >> 1) + c,
              48 - c,
            ]);
          [0, 1, 1].forEach((own, i) => {
            putBin(i, 0n, 0, own);
          });
          const tokens = Array.from({ length: count }, () => next() % 3);
          memory.set(tokens, at.tokens);
          for (let i = 0; i < count; i++)
            memory[at.context + i] = hasOthers ? (next() % 2) * (hasClass ? 2 : 3) : 0;
          expect(exports.columnTables(contexts, bins, bits, 1)).toBe(1);
          const end = at.tokens & ~1;
          const start = exports.columnEncode(at.tokens, at.context, count, bits, hasClass ? 1 : 0, end);
          const decode = (from: number, to: number) => exports.columnDecode(count, bits, mode, from, to);
          memory.fill(9, at.tokens, at.tokens + count);
          const plain = decodePlainly(
            memory.slice(start, end),
            count,
            bits,
            hasClass ? [0, 1, 1] : [0, 0, 0],
          );
          expect(plain).toEqual(tokens);
          if (!hasOthers) memory.fill(3, at.context, at.context + count);
          expect(decode(start, end)).toBe(1);
          expect([...memory.subarray(at.tokens, at.tokens + count)]).toEqual(tokens);
          expect(decode(start, end - 2)).toBe(0);
          memory[start + 3]! ^= 1;
          expect(decode(start, end)).toBe(0);
        }
      }
    });
  }

  it("refuses frequencies that do not add up", () => {
    new Uint16Array(memory.buffer, at.frequencies, 3).set([1000, 1000, 49]);
    expect(exports.columnTables(1, 3, 11, 1)).toBe(0);
    new Uint16Array(memory.buffer, at.frequencies, 3).set([1000, 1000, 47]);
    expect(exports.columnTables(1, 3, 11, 1)).toBe(0);
  });
});

describe("packed blocks", () => {
  const rowsOf = (width: number, next: () => number) =>
    Array.from({ length: 1024 }, (_, i) =>
      i === 500
        ? BigInt.asUintN(width, -1n)
        : BigInt.asUintN(width, (BigInt(next()) << 32n) | BigInt(next())),
    );
  const lay = (packed: readonly bigint[], width: number, least: bigint, before: bigint) => {
    put(at.residual, packed);
    expect(exports.columnPack(at.residual, 1024, 0n, width, 0, at.packed)).toBe(width * 128);
    view.setBigInt64(at.counts, least, true);
    view.setBigInt64(at.counts + 8, before, true);
    view.setUint8(at.counts + 16, width);
  };
  const unpack = (bytes: number, delta: number, multiplier: bigint, made: number, scale: number) =>
    exports.columnUnpackBlocks(at.counts, at.packed, bytes, 1, delta, multiplier, made, scale, at.lattice);

  it("of every width come back, as they are and summed up, multiplied by anything", () => {
    const next = noise(SEED);
    for (let width = 0; width <= 64; width++) {
      for (const multiplier of [1n, 25n, 2n ** 32n - 1n, 2n ** 40n + 1n, -3n]) {
        const packed = rowsOf(width, next);
        lay(packed, width, -5n, 1000n);
        expect(unpack(width * 128, 0, multiplier, 0, 0)).toBe(width * 128);
        const values = packed.map((value) => wrap(-5n + value * multiplier));
        expect(take(at.lattice, 1024)).toEqual(values);
        expect(unpack(width * 128, 1, multiplier, 0, 0)).toBe(width * 128);
        let sum = 1000n;
        const sums = values.map((value) => {
          sum = wrap(sum + value);
          return sum;
        });
        expect(take(at.lattice, 1024)).toEqual(sums);
        unpack(width * 128, 1, multiplier, 2, 0);
        expect(take(at.lattice, 1024)).toEqual(sums.map((x) => (x < 0n ? wrap(x ^ (2n ** 63n - 1n)) : x)));
        expect(unpack(width * 128 - 1, 0, 1n, 0, 0)).toBe(width === 0 ? 0 : -1);
      }
    }
  });

  it("keep outliers apart where that takes less, and give them back", () => {
    const next = noise(SEED);
    const far = [1n << 13n, -(1n << 13n), 1n << 40n, -(1n << 50n), 2n ** 62n, -(2n ** 62n)];
    for (const count of [1024, 1000, 200, 100]) {
      for (const often of [8, 20, 200]) {
        for (const multiplier of [1n, 25n, 2n ** 40n + 1n]) {
          const reach = far.slice(0, 2 + (next() % 5));
          const values = Array.from({ length: count }, () =>
            next() % often === 0 ? reach[next() % reach.length]! : 7n + BigInt(next() % 32),
          );
          // However rare they are.
          values[next() % count] = reach[next() % reach.length]!;
          put(at.residual, values);
          exports.columnPlanBlock(at.residual, count, at.spare, at.counts);
          const least = view.getBigInt64(at.counts, true);
          const width = view.getUint32(at.counts + 8, true);
          const outliers = view.getUint32(at.counts + 12, true);
          const bytes = exports.columnPack(at.residual, count, least, width, outliers, at.packed);
          const sorted = [...values].sort((a, b) => Number(a - b));
          const span = sorted.at(-1)! - sorted[0]!;
          const plainBytes = span.toString(2).length * 128;
          expect(bytes).toBeLessThanOrEqual(plainBytes);
          if (count > 200 && often === 200) expect(bytes).toBeLessThan(plainBytes / 2);
          view.setBigInt64(at.counts, wrap(least * multiplier), true);
          view.setBigInt64(at.counts + 8, 3n, true);
          view.setUint8(at.counts + 16, width + (outliers > 0 ? 128 : 0));
          let sum = 3n;
          const sums = values.map((value) => {
            sum = wrap(sum + value * multiplier);
            return sum;
          });
          expect(unpack(bytes, 0, multiplier, 0, 0)).toBe(bytes);
          expect(take(at.lattice, count)).toEqual(values.map((value) => wrap(value * multiplier)));
          expect(unpack(bytes, 1, multiplier, 0, 0)).toBe(bytes);
          expect(take(at.lattice, count)).toEqual(sums);
          expect(unpack(bytes, 1, multiplier, 1, 100)).toBe(bytes);
          sums.forEach((value, i) => {
            if (value < 2n ** 51n && value > -(2n ** 51n))
              expect(view.getFloat64(at.lattice + i * 8, true)).toBe(Number(value) / 100);
          });
          if (outliers > 0) expect(unpack(bytes - 1, 0, multiplier, 0, 0)).toBe(-1);
        }
      }
    }
  });

  it("of decimals become the quotients", () => {
    const next = noise(SEED);
    for (let width = 0; width <= 40; width++) {
      for (const multiplier of [1n, 25n]) {
        const packed = rowsOf(width, next);
        lay(packed, width, -(2n ** 20n), 123_456n);
        let sum = 123_456n;
        for (const delta of [0, 1]) {
          unpack(width * 128, delta, multiplier, 1, 1000);
          packed.forEach((value, i) => {
            const own = -(2n ** 20n) + value * multiplier;
            if (delta) sum += own;
            const d = delta ? sum : own;
            if (d > 2n ** 51n || d < -(2n ** 51n)) return;
            expect(view.getFloat64(at.lattice + i * 8, true)).toBe(Number(d) / 1000);
          });
        }
      }
    }
  });
});
