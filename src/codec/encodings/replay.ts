import { CHUNK_ELEMENTS } from "../../limits.ts";
import { corrupt } from "../corrupt.ts";
import type { Candidate, DecodeInput, EncodeInput, Encoding, Workshop } from "../encoding.ts";
import { laneOf } from "../lanes.ts";
import { distance, fitted, parentDistance, type Sample } from "../replay/fit.ts";
import { DECAY_SCALED, type Operands, predict, STAGES, scale } from "../replay/programs.ts";
import { misfit, type Recipe, readRecipe, type Segment, stageOf, writeRecipe } from "../replay/recipe.ts";
import { readResiduals, writeResiduals } from "./residual.ts";

const NAME = "replay";
const F32 = laneOf("f32");

/**
 * Float32 weights and optimizer state, predicted by doing the optimizer's step again. The gradient is in none of them,
 * but one of them (a moment, or the weight) tells it; that one is coded first, as residuals, and the others follow.
 *
 *     recipe (see replay/recipe.ts) | residuals (as in encoding 10) of the lanes of each stage that has any
 */
export const replay: Encoding = {
  id: 11,
  name: NAME,
  encode: (workshop, input) => {
    const { replay: plan, bytes } = input;
    if (plan === undefined || input.element !== "f32" || bytes.length % 4 !== 0) return undefined;
    const x = lanesOf(bytes);
    const bases = plan.bases.map(lanesOf);
    const count = x.length;
    if (count === 0 || count > CHUNK_ELEMENTS) return undefined;
    if (
      misfit(
        plan.recipe,
        count,
        bases.map(({ length }) => length),
      ) !== undefined
    )
      return undefined;
    const recipe = withFittedRules(plan.recipe, x, bases);
    return recipe === undefined ? undefined : encodeStages(workshop, input, recipe, x, bases);
  },
  decode: (workshop, { element, payload, bases }: DecodeInput, target) => {
    if (element !== "f32" || target.length % 4 !== 0) throw corrupt(NAME, "is not of float32");
    const count = target.length / 4;
    if (count > CHUNK_ELEMENTS) throw corrupt(NAME, `stands for ${count} elements, over ${CHUNK_ELEMENTS}`);
    const read = readRecipe(payload);
    if (read === undefined) throw corrupt(NAME, "has no recipe");
    const lanes = bases.map(lanesOf);
    const problem = misfit(
      read.recipe,
      count,
      lanes.map(({ length }) => length),
    );
    if (problem !== undefined) throw corrupt(NAME, problem);
    decodeStages(workshop, read.recipe, payload.subarray(read.sizeBytes), lanes, target);
  },
};

/** The bytes as float32, copied unless they lie where floats may. */
function lanesOf(bytes: Uint8Array): Float32Array {
  const count = bytes.length >> 2;
  if (bytes.byteOffset % 4 === 0) return new Float32Array(bytes.buffer, bytes.byteOffset, count);
  return new Float32Array(bytes.slice(0, count * 4).buffer);
}

interface Placed {
  segment: Segment;
  /** First lane of the segment in the chunk. */
  start: number;
}

function segmentsOf(recipe: Recipe, stage: number): Placed[] {
  const placed: Placed[] = [];
  let start = 0;
  for (const segment of recipe.segments) {
    if (stageOf(recipe, segment) === stage) placed.push({ segment, start });
    start += segment.lanes;
  }
  return placed;
}

const NONE = new Float32Array(0);

/** The segment's operands; those of the chunk itself are read from `x`, whose earlier stages are there. */
function operandsOf({ operands, lanes }: Segment, x: Float32Array, bases: Float32Array[]): Operands {
  const [a = NONE, b = NONE, c = NONE] = operands.map(({ base, start }) =>
    (base === 0 ? x : bases[base - 1]!).subarray(start, start + lanes),
  );
  return { a, b, c };
}

interface LaidStage {
  placed: Placed[];
  lanes: number;
  /** The second base region tells how far the lanes are expected to be. */
  scaled: boolean;
}

/** Predicts the lanes of a stage, one segment after the other, into the base regions. */
function layStage(
  { kernels: { memory, at } }: Workshop,
  recipe: Recipe,
  stage: number,
  x: Float32Array,
  bases: Float32Array[],
): LaidStage {
  const placed = segmentsOf(recipe, stage);
  const scaled = placed.some(({ segment }) => recipe.rules[segment.rule]!.program === DECAY_SCALED);
  let lanes = 0;
  for (const { segment } of placed) {
    const { program, constants } = recipe.rules[segment.rule]!;
    const operands = operandsOf(segment, x, bases);
    const predicted = new Float32Array(memory.buffer, at.base + lanes * 4, segment.lanes);
    predict(program, constants, operands, predicted);
    if (scaled) {
      const out = new Float32Array(memory.buffer, at.base2 + lanes * 4, segment.lanes);
      scale(program, constants, operands, predicted, out);
    }
    lanes += segment.lanes;
  }
  for (const region of [at.base, at.base2]) memory.fill(0, region + lanes * 4, region + (lanes + 64) * 4);
  return { placed, lanes, scaled };
}

function encodeStages(
  workshop: Workshop,
  { bytes, replay: plan }: EncodeInput,
  recipe: Recipe,
  x: Float32Array,
  bases: Float32Array[],
): Candidate | undefined {
  const { kernels, payloads } = workshop;
  const { memory, at } = kernels;
  payloads.begin().put(writeRecipe(recipe));
  for (let stage = 0; stage < STAGES; stage++) {
    const { placed, lanes, scaled } = layStage(workshop, recipe, stage, x, bases);
    if (lanes === 0) continue;
    let to = at.input;
    for (const { segment, start } of placed) {
      memory.set(bytes.subarray(start * 4, (start + segment.lanes) * 4), to);
      to += segment.lanes * 4;
    }
    memory.fill(0, to, to + 256);
    writeResiduals(workshop, F32, lanes, scaled);
  }
  const payload = payloads.finish();
  return payload.length < bytes.length ? { payload, basesUsed: plan!.bases.length } : undefined;
}

function decodeStages(
  workshop: Workshop,
  recipe: Recipe,
  payload: Uint8Array,
  bases: Float32Array[],
  target: Uint8Array,
): void {
  const { memory, at } = workshop.kernels;
  const x = new Float32Array(target.length / 4);
  const xBytes = new Uint8Array(x.buffer);
  let rest = payload;
  for (let stage = 0; stage < STAGES; stage++) {
    const { placed, lanes, scaled } = layStage(workshop, recipe, stage, x, bases);
    if (lanes === 0) continue;
    const sizeBytes = readResiduals(
      workshop,
      { name: NAME, lane: F32, count: lanes, hasDrift: scaled },
      rest,
    );
    rest = rest.subarray(sizeBytes);
    let from = at.output;
    for (const { segment, start } of placed) {
      xBytes.set(memory.subarray(from, from + segment.lanes * 4), start * 4);
      from += segment.lanes * 4;
    }
  }
  if (rest.length > 0) throw corrupt(NAME, "does not end with its last stage");
  target.set(xBytes);
}

/** Lanes that a rule is judged by. */
const SAMPLE_LANES = 4096;
/** What the replay must take off the distance from the parent, of the lanes that it claims to foresee. */
const FORESEEN_SHARE = 0.25;

/** The recipe with constants fitted to the chunk; undefined where the replay foresees too little to be worth trying. */
function withFittedRules(recipe: Recipe, x: Float32Array, bases: Float32Array[]): Recipe | undefined {
  let replayed = 0;
  let parents = 0;
  let foreseeing = 0;
  const rules = recipe.rules.map((rule, i) => {
    const sample = sampleOf(recipe, i, x, bases);
    if (sample === undefined) return rule;
    foreseeing++;
    const better = fitted(rule, sample);
    replayed += distance(better, sample);
    parents += parentDistance(sample);
    return better;
  });
  if (foreseeing > 0 && replayed > parents * (1 - FORESEEN_SHARE)) return undefined;
  return { rules, segments: recipe.segments };
}

/** Evenly spread lanes of the segments under a rule, if it foresees anything; what coded first has nothing to foresee. */
function sampleOf(recipe: Recipe, rule: number, x: Float32Array, bases: Float32Array[]): Sample | undefined {
  const under: Placed[] = [];
  let start = 0;
  let lanes = 0;
  for (const segment of recipe.segments) {
    if (segment.rule === rule && stageOf(recipe, segment) > 0) {
      under.push({ segment, start });
      lanes += segment.lanes;
    }
    start += segment.lanes;
  }
  if (lanes === 0) return undefined;
  const stride = Math.ceil(lanes / SAMPLE_LANES);
  const size = Math.ceil(lanes / stride);
  const sample = {
    a: new Float32Array(size),
    b: new Float32Array(size),
    c: new Float32Array(size),
    x: new Float32Array(size),
  };
  let lane = 0;
  for (const { segment, start: from } of under) {
    const { a, b, c } = operandsOf(segment, x, bases);
    for (let i = (stride - (lane % stride)) % stride; i < segment.lanes; i += stride) {
      const to = (lane + i) / stride;
      sample.a[to] = a[i]!;
      sample.b[to] = b[i] ?? 0;
      sample.c[to] = c[i] ?? 0;
      sample.x[to] = x[from + i]!;
    }
    lane += segment.lanes;
  }
  return sample;
}
