import { isStoreError } from "../../src/errors.ts";
import type { ColumnValues } from "../../src/series/columns/column.ts";
import type { ColumnCodec, EncodedColumn } from "../../src/series/columns/column-codec.ts";
import { noise } from "../codec/seeded.ts";
import {
  NUMBER_TYPES,
  numberColumn,
  numbersIn,
  quotes,
  SHAPES,
  sameBits,
  textColumn,
} from "../series/columns/samples.ts";

/** However slow the machine is, so many at least. */
const ROUNDS_MIN = 10;

export interface FuzzReport {
  tables: number;
  attacks: number;
  refused: number;
  /** Longest time that one decode took. */
  slowestMs: number;
}

/**
 * Attacks the column decoder until the time is over: encoded columns with bytes flipped, cut, put elsewhere, swapped with
 * another's or made up. Decoding may give values or ERR_STORE_CORRUPT; anything else ends the campaign with the seed that
 * found it. After each attack the sound table must still decode.
 *
 *     VARVE_FUZZ_SECONDS=300 npx vitest run test/series/columns/fuzz
 */
export function fuzzColumns(codec: ColumnCodec, seed: number, seconds: number): FuzzReport {
  const report: FuzzReport = { tables: 0, attacks: 0, refused: 0, slowestMs: 0 };
  const end = performance.now() + seconds * 1000;
  for (let round = seed; round < seed + ROUNDS_MIN || performance.now() < end; round++) {
    const next = noise(round * 2654435761);
    const rows = next() % 6 === 0 ? 1000 + (next() % 20_000) : next() % 300;
    const table = tableOf(rows, next);
    const profile = next() % 2 === 0 ? "light" : "compact";
    const derive =
      rows > 0 && table.some(({ name }) => name === "ema") ? { ema: { ema: { of: "bid", span: 9 } } } : {};
    const sound = codec.encode(table, { profile, derive });
    report.tables++;
    for (let attack = 0; attack < 30; attack++) {
      const victim = next() % sound.length;
      const attacked = sound.map((column, i) =>
        i === victim ? { ...column, bytes: damaged(sound, i, next) } : column,
      );
      const start = performance.now();
      const decoder = codec.decoder(attacked, rows);
      for (const { name } of attacked) {
        try {
          decoder.decode(name);
        } catch (error) {
          if (!isStoreError(error, "ERR_STORE_CORRUPT")) {
            throw new Error(`round ${round}: column ${name}, attacked ${attacked[victim]!.name}`, {
              cause: error,
            });
          }
          report.refused++;
        }
      }
      report.attacks++;
      report.slowestMs = Math.max(report.slowestMs, performance.now() - start);
    }
    const decoder = codec.decoder(sound, rows);
    for (const { name, values, type } of table) {
      if (typeof type === "string" && type !== "utf8" && !sameBits(decoder.decode(name).values, values)) {
        throw new Error(`round ${round}: column ${name} changed`);
      }
    }
  }
  return report;
}

function tableOf(rows: number, next: () => number): ColumnValues[] {
  if (next() % 2 === 0) {
    const table = quotes(rows, next());
    const ema = new Float64Array(rows);
    const bid = table[2]!.values as Float64Array;
    for (let i = 0; i < rows; i++) ema[i] = i === 0 ? bid[0]! : 0.2 * bid[i]! + 0.8 * ema[i - 1]!;
    return [...table, numberColumn("ema", "f64", ema)];
  }
  const texts = Array.from({ length: rows }, () => "abcdefgh".slice(next() % 8).repeat(next() % 3));
  const columns = [textColumn("text", texts)];
  for (let i = 0; i < 3; i++) {
    const type = NUMBER_TYPES[next() % NUMBER_TYPES.length]!;
    columns.push(
      numberColumn(`${type}-${i}`, type, numbersIn(type, SHAPES[next() % SHAPES.length]!, rows, next())),
    );
  }
  return columns;
}

function damaged(columns: readonly EncodedColumn[], victim: number, next: () => number): Uint8Array {
  const bytes = columns[victim]!.bytes.slice();
  const at = () => next() % Math.max(bytes.length, 1);
  switch (next() % 7) {
    case 0:
      return bytes.subarray(0, at());
    case 1:
      return columns[next() % columns.length]!.bytes;
    case 2:
      return new Uint8Array(next() % 200).map(() => next());
    case 3:
      bytes.copyWithin(at(), at(), at());
      return bytes;
    case 4:
      // Headers decide most: attack the first bytes.
      for (let i = 0; i < 3; i++) bytes[next() % Math.min(bytes.length, 40)] = next();
      return bytes;
    case 5:
      return new Uint8Array([...bytes.subarray(0, 3000), ...bytes.subarray(at(), at() + 50)]);
    default:
      for (let i = 0; i <= next() % 3; i++) bytes[at()]! ^= 1 << (next() % 8);
      return bytes;
  }
}
