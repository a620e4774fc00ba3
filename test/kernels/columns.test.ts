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
    const misfits = values.flatMap((value, i) =>
      Object.is(Math.round(value * 100) / 100, value) && value !== 2 ** 51 && !Object.is(value, -0)
        ? []
        : [i],
    );
    expect(wrong).toBe(misfits.length);
    expect([...new Uint32Array(memory.buffer, at.spare, wrong)]).toEqual(misfits);
    exports.columnFromDecimal(at.lattice, at.reference, values.length, 100, 0);
    values.forEach((value, i) => {
      if (!misfits.includes(i))
        expect(Object.is(view.getFloat64(at.reference + i * 8, true), value)).toBe(true);
    });
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
    for (const widths of [[0], [0, 0, 3], [64], [7, 0, 13, 40, 63], [56, 57, 33, 1]]) {
      const bins = widths.length;
      const lowers = widths.map(
        (_, i) => -(2n ** 62n) * (bins > 1 ? 1n : 2n) + (2n ** 63n / BigInt(bins)) * BigInt(i),
      );
      widths.forEach((bits, i) => {
        view.setBigInt64(at.bins + i * 16, lowers[i]!, true);
        view.setUint8(at.bins + i * 16 + 8, bits);
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
      expect(exports.columnValues(at.tokens, 999, at.packed, 0, 1n, Math.max(...widths), at.spare)).toBe(
        bits,
      );
      expect(take(at.spare, 999)).toEqual(values);
    }
  });

  it("classify rows by the size of their change", () => {
    for (const count of counts) {
      const values = integers(count, SEED + count);
      put(at.source, values);
      exports.columnClasses(at.source, count, 0, 9, 33, at.spare);
      values.forEach((value, i) => {
        const change = wrap(value - (values[i - 1] ?? value));
        const size = BigInt.asUintN(64, (change << 1n) ^ (change >> 63n));
        const bits = size === 0n ? 0 : size.toString(2).length;
        expect(memory[at.spare + i]).toBe([0, 9, 33].filter((edge) => bits > edge).length);
      });
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

describe("the coder of bins", () => {
  it("decodes what it coded, by context and class, and notices any other stream", () => {
    const next = noise(SEED);
    const bits = 11;
    for (const count of counts) {
      for (const plain of [true, false]) {
        const contexts = plain ? 1 : 4;
        for (let c = 0; c < contexts; c++)
          new Uint16Array(memory.buffer, at.frequencies + c * 512, 3).set([1000, 1000 + c, 48 - c]);
        [0, 1, 1].forEach((own, i) => {
          view.setUint8(at.bins + i * 16 + 9, own);
        });
        const tokens = Array.from({ length: count }, () => next() % 3);
        memory.set(tokens, at.tokens);
        for (let i = 0; i < count; i++) memory[at.context + i] = plain ? 0 : (next() % 2) * 2;
        expect(exports.columnTables(contexts, 3, bits, 1)).toBe(1);
        const end = at.tokens & ~1;
        const start = exports.columnEncode(at.tokens, at.context, count, bits, plain ? 0 : 1, end);
        memory.fill(9, at.tokens, at.tokens + count);
        expect(exports.columnDecode(at.tokens, at.context, count, bits, plain ? 1 : 0, start, end)).toBe(1);
        expect([...memory.subarray(at.tokens, at.tokens + count)]).toEqual(tokens);
        expect(exports.columnDecode(at.tokens, at.context, count, bits, plain ? 1 : 0, start, end - 2)).toBe(
          0,
        );
        memory[start + 3]! ^= 1;
        expect(exports.columnDecode(at.tokens, at.context, count, bits, plain ? 1 : 0, start, end)).toBe(0);
      }
    }
  });

  it("refuses frequencies that do not add up", () => {
    new Uint16Array(memory.buffer, at.frequencies, 3).set([1000, 1000, 49]);
    expect(exports.columnTables(1, 3, 11, 1)).toBe(0);
    new Uint16Array(memory.buffer, at.frequencies, 3).set([1000, 1000, 47]);
    expect(exports.columnTables(1, 3, 11, 1)).toBe(0);
  });
});

describe("packed blocks", () => {
  it("of every width come back", () => {
    const next = noise(SEED);
    for (let width = 0; width <= 64; width++) {
      const values = Array.from({ length: 1024 }, () =>
        wrap(-5n + BigInt.asUintN(width, (BigInt(next()) << 32n) | BigInt(next()))),
      );
      put(at.residual, values);
      exports.columnPack(at.residual, 1024, -5n, width, at.packed);
      view.setBigInt64(at.counts, -5n, true);
      view.setBigInt64(at.counts + 8, 0n, true);
      view.setUint8(at.counts + 16, width);
      const read = exports.columnUnpackBlocks(at.counts, at.packed, width * 128, 0, 1, 0, 1n, 0, at.lattice);
      expect(read).toBe(width * 128);
      expect(take(at.lattice, 1024)).toEqual(values);
      expect(
        exports.columnUnpackBlocks(at.counts, at.packed, width * 128 - 1, 0, 1, 0, 1n, 0, at.lattice),
      ).toBe(width === 0 ? 0 : -1);
    }
  });
});
