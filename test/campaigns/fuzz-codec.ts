import type { Codec } from "../../src/codec/codec.ts";
import { ELEMENTS, elementWidth } from "../../src/codec/element.ts";
import type { Workshop } from "../../src/codec/encoding.ts";
import { PROGRAMS, ZERO } from "../../src/codec/replay/programs.ts";
import type { Recipe } from "../../src/codec/replay/recipe.ts";
import { ENCODINGS } from "../../src/codec/table.ts";
import { isStoreError } from "../../src/errors.ts";
import { chunkOf, SHAPES, stepped } from "../codec/chunks.ts";
import { anyRecipe } from "../codec/recipes.ts";
import { noise } from "../codec/seeded.ts";

/** However slow the machine is, so many at least. */
const ROUNDS_MIN = 10;

export interface FuzzReport {
  payloads: number;
  attacks: number;
  refused: number;
  /** Longest time that one decode took. */
  slowestMs: number;
}

/**
 * Attacks the decoders until the time is over: payloads of every encoding and element, with bytes flipped, cut, joined,
 * put elsewhere, or made up, for targets and bases of other lengths. A decoder may fill its target or throw
 * ERR_STORE_CORRUPT; anything else ends the campaign with the seed that found it. After each attack the sound payload
 * must still decode: what a decoder was fed may not reach into the next one.
 *
 *     VARVE_FUZZ_SECONDS=300 npx vitest run test/codec/fuzz
 */
export function fuzzDecoders(workshop: Workshop, codec: Codec, seed: number, seconds: number): FuzzReport {
  const report: FuzzReport = { payloads: 0, attacks: 0, refused: 0, slowestMs: 0 };
  const end = performance.now() + seconds * 1000;
  for (let round = seed; round < seed + ROUNDS_MIN || performance.now() < end; round++) {
    const next = noise(round * 2654435761);
    const element = ELEMENTS[next() % ELEMENTS.length]!;
    const width = elementWidth(element);
    const count = next() % 5 === 0 ? next() % 20_000 : next() % 300;
    const bytes = chunkOf(element, SHAPES[next() % SHAPES.length]!, count, next(), next() % width);
    const parent = stepped(bytes, width, 1 + (next() % 9), next());
    const bases = [parent, stepped(parent, width, 1 + (next() % 9), next())];
    // Of weights that moved as foreseen: a replay declines what it does not foresee.
    const replay = { recipe: foreseen(anyRecipe(Math.max(count, 1), next)), bases };
    for (const encoding of ENCODINGS.values()) {
      const profile = next() % 2 === 0 ? "compact" : "fast";
      const encoded = encoding.encode(workshop, { bytes, element, bases, profile, replay });
      if (encoded === undefined) continue;
      report.payloads++;
      const sound = { encoding: encoding.id, element, payload: encoded.payload, bases };
      for (let attack = 0; attack < 20; attack++) {
        const payload = damaged(encoded.payload, next);
        const target = new Uint8Array(next() % 4 === 0 ? next() % (bytes.length * 2 + 2) : bytes.length);
        const offered = next() % 4 === 0 ? [bases[1]!.subarray(next() % 9)] : bases;
        const start = performance.now();
        try {
          codec.decode({ ...sound, payload, bases: offered }, target);
        } catch (error) {
          if (!isStoreError(error, "ERR_STORE_CORRUPT")) {
            throw new Error(`round ${round}: ${encoding.name} of ${element}`, { cause: error });
          }
          report.refused++;
        }
        report.attacks++;
        report.slowestMs = Math.max(report.slowestMs, performance.now() - start);
      }
      const target = new Uint8Array(bytes.length);
      codec.decode(sound, target);
      if (Buffer.compare(target, bytes) !== 0)
        throw new Error(`round ${round}: ${encoding.name} of ${element} changed`);
    }
  }
  return report;
}

/** The recipe without what could foresee badly: every rule is what the first stage may have. */
function foreseen({ rules, segments }: Recipe): Recipe {
  const early = segments.map((segment) =>
    PROGRAMS[rules[segment.rule]!.program]!.stage === 0 ? segment : { ...segment, rule: ZERO, operands: [] },
  );
  return { rules, segments: early };
}

function damaged(payload: Uint8Array, next: () => number): Uint8Array {
  const bytes = new Uint8Array(payload);
  const at = () => next() % Math.max(bytes.length, 1);
  switch (next() % 6) {
    case 0:
      return bytes.subarray(0, at());
    case 1:
      return new Uint8Array([...bytes.subarray(0, 2000), ...bytes.subarray(at(), at() + 2000)]);
    case 2:
      return new Uint8Array(next() % 400).map(() => next());
    case 3:
      bytes.copyWithin(at(), at(), at());
      return bytes;
    case 4:
      // Headers decide most: attack the first bytes.
      if (bytes.length > 0) bytes[next() % Math.min(bytes.length, 24)] = next();
      return bytes;
    default:
      for (let flips = 1 + (next() % 4); flips > 0 && bytes.length > 0; flips--)
        bytes[at()]! ^= 1 << (next() & 7);
      return bytes;
  }
}
