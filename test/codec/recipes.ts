import { PROGRAMS } from "../../src/codec/replay/programs.ts";
import type { Recipe, Segment } from "../../src/codec/replay/recipe.ts";

/** A recipe of every program over the bases and over what earlier stages have coded; any lanes, any constants. */
export function anyRecipe(lanes: number, next: () => number): Recipe {
  const constants = [0, 1, -1, 0.9, 1e-8, 10, Number.POSITIVE_INFINITY, Number.NaN, 1e30];
  const rules = PROGRAMS.map(({ constants: count }, program) => ({
    program,
    constants: Float32Array.from({ length: count }, () => constants[next() % constants.length]!),
  }));
  const segments: Segment[] = [];
  for (let left = lanes; left > 0; ) {
    const rule = next() % rules.length;
    const count = Math.min(left, 1 + (next() % 60));
    const operands = Array.from({ length: PROGRAMS[rule]!.operands }, () => ({
      base: 1 + (next() % 2),
      start: next() % (lanes - count + 1),
    }));
    segments.push({ rule, lanes: count, operands });
    left -= count;
  }
  return { rules, segments: withOwnOperands(segments, next) };
}

/** Lets segments of later stages take an operand from a segment of stage 0 that is as long. */
function withOwnOperands(segments: Segment[], next: () => number): Segment[] {
  let start = 0;
  const first = segments.flatMap((segment) => {
    const at = start;
    start += segment.lanes;
    return PROGRAMS[segment.rule]!.stage === 0 ? [{ at, lanes: segment.lanes }] : [];
  });
  return segments.map((segment) => {
    const source = first[next() % Math.max(first.length, 1)];
    if (PROGRAMS[segment.rule]!.stage === 0 || source === undefined || source.lanes < segment.lanes)
      return segment;
    const [a, ...rest] = segment.operands;
    return { ...segment, operands: [a!, ...rest.map(() => ({ base: 0, start: source.at }))] };
  });
}
