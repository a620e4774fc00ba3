import { CHUNK_ELEMENTS, FRAME_BASES_MAX } from "../../limits.ts";
import { PROGRAMS } from "./programs.ts";

/** A program with its constants, float32. */
export interface Rule {
  program: number;
  constants: Float32Array;
}

/** Where a segment's operand begins: in the chunk itself (base 0) or in one of the frame's bases, from 1. */
export interface Operand {
  base: number;
  /** First lane. */
  start: number;
}

/** Lanes that follow one rule; segments lie one after the other and cover the chunk. */
export interface Segment {
  /** Place in the recipe's rules. */
  rule: number;
  lanes: number;
  operands: Operand[];
}

/** How to predict a chunk of float32 from its bases and, stage by stage, from itself. */
export interface Recipe {
  rules: Rule[];
  segments: Segment[];
}

const RULES_MAX = 255;

/**
 *     rules u8 | (program u8 | constants f32{…}){rules}
 *     segments varint | (rule u8 | lanes varint | (base u8 | start varint){operands}){segments}
 */
export function writeRecipe({ rules, segments }: Recipe): Uint8Array {
  const bytes: number[] = [rules.length];
  for (const { program, constants } of rules) {
    bytes.push(program, ...new Uint8Array(constants.slice().buffer));
  }
  putVarint(bytes, segments.length);
  for (const { rule, lanes, operands } of segments) {
    bytes.push(rule);
    putVarint(bytes, lanes);
    for (const { base, start } of operands) {
      bytes.push(base);
      putVarint(bytes, start);
    }
  }
  return Uint8Array.from(bytes);
}

/** Reads what `writeRecipe` wrote; undefined for anything that is none. Whether it fits the chunk is not checked. */
export function readRecipe(bytes: Uint8Array): { recipe: Recipe; sizeBytes: number } | undefined {
  let at = 0;
  const byte = () => (at < bytes.length ? bytes[at++]! : Number.NaN);
  const varint = () => {
    let value = 0;
    for (let shift = 0; shift < 21; shift += 7) {
      const part = byte();
      value |= (part & 127) << shift;
      if (!(part >= 128)) return Number.isNaN(part) ? part : value;
    }
    return Number.NaN;
  };
  const ruleCount = byte();
  const rules: Rule[] = [];
  for (let i = 0; i < ruleCount; i++) {
    const program = byte();
    const known = PROGRAMS[program];
    if (known === undefined || at + known.constants * 4 > bytes.length) return undefined;
    const constants = new Float32Array(bytes.slice(at, at + known.constants * 4).buffer);
    at += known.constants * 4;
    rules.push({ program, constants });
  }
  const segmentCount = varint();
  // A segment takes two bytes at least.
  if (!(segmentCount * 2 <= bytes.length - at) || segmentCount > CHUNK_ELEMENTS) return undefined;
  const segments: Segment[] = [];
  for (let i = 0; i < segmentCount; i++) {
    const rule = byte();
    const lanes = varint();
    const known = rules[rule];
    if (known === undefined) return undefined;
    const operands: Operand[] = [];
    for (let n = 0; n < PROGRAMS[known.program]!.operands; n++)
      operands.push({ base: byte(), start: varint() });
    segments.push({ rule, lanes, operands });
  }
  return { recipe: { rules, segments }, sizeBytes: at };
}

function putVarint(bytes: number[], value: number): void {
  let rest = value;
  for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128);
  bytes.push(rest);
}

export function stageOf(recipe: Recipe, segment: Segment): number {
  return PROGRAMS[recipe.rules[segment.rule]!.program]!.stage;
}

/**
 * What is wrong with a recipe for a chunk of `lanes` and bases of so many lanes; undefined if it fits: the segments
 * cover the chunk, operands lie within their bases, and what is taken from the chunk itself an earlier stage coded.
 */
export function misfit(recipe: Recipe, lanes: number, baseLanes: number[]): string | undefined {
  if (recipe.rules.length > RULES_MAX) return "has too many rules";
  if (baseLanes.length > FRAME_BASES_MAX) return "has too many bases";
  const stages = new Uint8Array(lanes);
  let end = 0;
  for (const segment of recipe.segments) {
    if (!(segment.lanes > 0 && end + segment.lanes <= lanes)) return "has segments that do not fit its chunk";
    stages.fill(stageOf(recipe, segment), end, end + segment.lanes);
    end += segment.lanes;
  }
  if (end !== lanes) return "has segments that do not cover its chunk";
  for (const segment of recipe.segments) {
    const stage = stageOf(recipe, segment);
    for (const { base, start } of segment.operands) {
      const available = base === 0 ? lanes : baseLanes[base - 1];
      if (available === undefined || !(start + segment.lanes <= available))
        return "has an operand outside its base";
      if (base > 0) continue;
      for (let i = start; i < start + segment.lanes; i++) {
        if (stages[i]! >= stage) return "predicts a stage from itself or a later one";
      }
    }
  }
  return undefined;
}
