import type { TensorSpan } from "../../formats/layout.ts";
import { COPY, PROGRAMS, ZERO } from "../../src/codec/replay/programs.ts";
import type { Operand, Recipe, Rule, Segment } from "../../src/codec/replay/recipe.ts";
import { FRAME_BASES_MAX, REPLAY_LEVELS_MAX } from "../../src/limits.ts";
import { type PlannedChunk, planChunks } from "../chunk-plan.ts";
import type { ChunkRef, ManifestFile, StoredLayout } from "../manifest-format.ts";
import { familiesOf } from "./families.ts";
import { type Role, rulesFor, type TensorRule } from "./rules.ts";
import type { OptimizerSettings } from "./settings.ts";

/** A base of a replayed chunk: one of the parent version, or another chunk of this one that is stored before it. */
export type ReplaySource = { stored: ChunkRef } | { chunk: number };

export interface ChunkReplay {
  recipe: Recipe;
  /** In the order in which the recipe counts them from 1. */
  bases: ReplaySource[];
  /** Chunks of lower levels are to be stored first: none at 0. */
  level: number;
}

export interface ReplayedFile {
  layout: StoredLayout;
  chunks: PlannedChunk[];
  /** The same file in the parent version. */
  parent: ManifestFile & { layout: StoredLayout };
  settings: OptimizerSettings;
}

/** For each chunk how to predict it by doing the optimizer's step again; undefined where that cannot help. */
export function planReplay(file: ReplayedFile): (ChunkReplay | undefined)[] {
  const planner = new Planner(file);
  return planner.anything ? file.chunks.map((_, i) => planner.plan(i)) : [];
}

/** Where a file's tensors begin: headers grow and shrink. */
const dataAt = (spans: TensorSpan[]) => spans[0]?.offset ?? 0;

/** A run of lanes of one chunk. */
interface Run {
  chunk: number;
  lane: number;
  lanes: number;
}

interface Known {
  span: TensorSpan;
  rule: TensorRule;
  roleSpan: (role: Role) => TensorSpan | undefined;
}

class Planner {
  readonly #file: ReplayedFile;
  readonly #spans: Map<number, Known>;
  readonly #now: Places;
  readonly #before: Places;
  readonly #beforeByName: Map<string, TensorSpan>;
  readonly #beforeByPlace: Map<number, TensorSpan>;
  readonly #plans = new Map<number, ChunkReplay | undefined | "planning">();

  constructor(file: ReplayedFile) {
    this.#file = file;
    this.#now = new Places(file.chunks);
    this.#before = new Places(planChunks(file.parent.layout, file.parent.sizeBytes));
    const { spans } = file.parent.layout;
    this.#beforeByName = new Map(spans.map((span) => [span.name, span]));
    this.#beforeByPlace = new Map(spans.map((span) => [span.offset - dataAt(spans), span]));
    this.#spans = this.#knownSpans();
  }

  get anything(): boolean {
    return this.#spans.size > 0;
  }

  #knownSpans(): Map<number, Known> {
    const known = new Map<number, Known>();
    for (const family of familiesOf(this.#file.layout.spans)) {
      const spanOf = (slot: Role["slot"]) => (slot === "weight" ? family.weight : family.slots.get(slot));
      const roleSpan = ({ slot, when }: Role) => {
        const span = spanOf(slot);
        if (when === "now" || span === undefined) return span;
        return this.#earlier(span);
      };
      for (const rule of rulesFor(family, this.#file.settings)) {
        const span = spanOf(rule.slot);
        if (span === undefined || rule.operands.some((role) => roleSpan(role) === undefined)) continue;
        known.set(span.offset, { span, rule, roleSpan });
      }
    }
    return known;
  }

  /** What a tensor was in the parent version, by its name, or, where all were renamed, by its place. */
  #earlier(span: TensorSpan): TensorSpan | undefined {
    const fits = (earlier: TensorSpan | undefined) =>
      earlier?.dtype === "F32" && earlier.sizeBytes === span.sizeBytes ? earlier : undefined;
    const place = span.offset - dataAt(this.#file.layout.spans);
    return fits(this.#beforeByName.get(span.name)) ?? fits(this.#beforeByPlace.get(place));
  }

  plan(chunk: number): ChunkReplay | undefined {
    const before = this.#plans.get(chunk);
    if (before === "planning") return undefined;
    if (before !== undefined || this.#plans.has(chunk)) return before;
    this.#plans.set(chunk, "planning");
    const plan = this.#build(chunk);
    this.#plans.set(chunk, plan);
    return plan;
  }

  #build(index: number): ChunkReplay | undefined {
    const chunk = this.#file.chunks[index]!;
    if (chunk.element !== "f32") return undefined;
    const recipe = new RecipeBuilder();
    let level = 0;
    let end = chunk.offset;
    const chunkEnd = chunk.offset + chunk.rawBytes;
    for (const span of this.#file.layout.spans) {
      if (span.offset + span.sizeBytes <= chunk.offset || span.sizeBytes === 0) continue;
      if (span.offset >= chunkEnd) break;
      const from = Math.max(span.offset, chunk.offset);
      end = Math.min(span.offset + span.sizeBytes, chunkEnd);
      const first = (from - span.offset) / 4;
      level = Math.max(level, this.#addSpan(recipe, index, span, { first, lanes: (end - from) / 4 }));
    }
    if (end !== chunkEnd || !recipe.foresees) return undefined;
    return { recipe: recipe.finish(), bases: recipe.bases, level };
  }

  /** Adds lanes of one tensor; returns the level that their operands ask for. */
  #addSpan(
    recipe: RecipeBuilder,
    index: number,
    span: TensorSpan,
    { first, lanes }: { first: number; lanes: number },
  ): number {
    const known = this.#spans.get(span.offset);
    let level = 0;
    for (let done = 0; done < lanes; ) {
      const at = first + done;
      let run = lanes - done;
      let segment: { rule: Rule; operands: { source: ReplaySource | "self"; start: number }[] } | undefined;
      if (known !== undefined) {
        const places = known.rule.operands.map((role) =>
          (role.when === "now" ? this.#now : this.#before).find(known.roleSpan(role)!.offset + at * 4),
        );
        const shortest = places.reduce((least, place) => Math.min(least, place?.lanes ?? 0), run);
        const asked = shortest > 0 ? this.#levelOf(index, known.rule.operands, places as Run[]) : undefined;
        if (asked !== undefined) {
          const operands = places.map((place, i) => {
            const { chunk, lane } = place!;
            const isNow = known.rule.operands[i]!.when === "now";
            const source = isNow ? (chunk === index ? "self" : { chunk }) : { stored: this.#stored(chunk) };
            return { source, start: lane } as const;
          });
          if (recipe.mayName(operands.map(({ source }) => source))) {
            segment = { rule: known.rule.rule, operands };
            run = shortest;
            level = Math.max(level, asked);
          }
        }
      }
      if (segment === undefined) run = this.#addCopy(recipe, span, at, run);
      else recipe.add(segment.rule, run, segment.operands);
      done += run;
    }
    return level;
  }

  /** The level of a chunk that reads these; undefined where that would go round in a circle, or on too far. */
  #levelOf(index: number, roles: Role[], places: Run[]): number | undefined {
    let level = 0;
    for (const [i, { chunk }] of places.entries()) {
      if (roles[i]!.when === "before" || chunk === index) continue;
      if (this.#plans.get(chunk) === "planning") return undefined;
      level = Math.max(level, 1 + (this.plan(chunk)?.level ?? 0));
    }
    return level > REPLAY_LEVELS_MAX ? undefined : level;
  }

  /** What no rule says anything of is as it was, if it was. */
  #addCopy(recipe: RecipeBuilder, span: TensorSpan, at: number, lanes: number): number {
    const earlier = this.#earlier(span);
    const place = earlier === undefined ? undefined : this.#before.find(earlier.offset + at * 4);
    const source = place === undefined ? undefined : { stored: this.#stored(place.chunk) };
    if (place === undefined || source === undefined || !recipe.mayName([source])) {
      recipe.add(rule(ZERO), lanes, []);
      return lanes;
    }
    const run = Math.min(lanes, place.lanes);
    recipe.add(rule(COPY), run, [{ source, start: place.lane }]);
    return run;
  }

  #stored(chunk: number): ChunkRef {
    return this.#file.parent.chunks[chunk]!;
  }
}

const rule = (program: number): Rule => ({ program, constants: new Float32Array(0) });

/** Where a byte of a file lies among its chunks of float32. */
class Places {
  readonly #chunks: PlannedChunk[];

  constructor(chunks: PlannedChunk[]) {
    this.#chunks = chunks;
  }

  find(offset: number): Run | undefined {
    let low = 0;
    let high = this.#chunks.length - 1;
    // Tensors' chunks lie in file order; the skeleton's, which come between, are as long as they say too.
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#chunks[middle]!.offset <= offset) low = middle;
      else high = middle - 1;
    }
    const chunk = this.#chunks[low];
    if (chunk?.element !== "f32" || offset < chunk.offset || (offset - chunk.offset) % 4 !== 0)
      return undefined;
    const lane = (offset - chunk.offset) / 4;
    const lanes = chunk.rawBytes / 4 - lane;
    return lanes > 0 ? { chunk: low, lane, lanes } : undefined;
  }
}

class RecipeBuilder {
  readonly bases: ReplaySource[] = [];
  /** Whether any lane is more than what it was. */
  foresees = false;
  readonly #rules: Rule[] = [];
  readonly #segments: Segment[] = [];

  mayName(sources: (ReplaySource | "self")[]): boolean {
    const added = new Set<string>();
    for (const source of sources) {
      if (source !== "self" && this.#find(source) === 0) added.add(keyOf(source));
    }
    return this.bases.length + added.size <= FRAME_BASES_MAX;
  }

  add(rule: Rule, lanes: number, operands: { source: ReplaySource | "self"; start: number }[]): void {
    const placed = operands.map(({ source, start }): Operand => ({ base: this.#name(source), start }));
    const place = this.#ruleAt(rule);
    this.foresees ||= PROGRAMS[rule.program]!.constants > 0 || PROGRAMS[rule.program]!.stage > 0;
    const last = this.#segments.at(-1);
    const goesOn =
      last?.rule === place &&
      last.operands.every(
        ({ base, start }, i) => base === placed[i]!.base && start + last.lanes === placed[i]!.start,
      );
    if (goesOn) last.lanes += lanes;
    else this.#segments.push({ rule: place, lanes, operands: placed });
  }

  finish(): Recipe {
    return { rules: this.#rules, segments: this.#segments };
  }

  #ruleAt(rule: Rule): number {
    const place = this.#rules.findIndex(
      ({ program, constants }) => program === rule.program && constants.join() === rule.constants.join(),
    );
    return place >= 0 ? place : this.#rules.push(rule) - 1;
  }

  /** The base's number, from 1; 0 for one that has none yet. */
  #find(source: ReplaySource): number {
    const key = keyOf(source);
    return this.bases.findIndex((base) => keyOf(base) === key) + 1;
  }

  #name(source: ReplaySource | "self"): number {
    if (source === "self") return 0;
    return this.#find(source) || this.bases.push(source);
  }
}

function keyOf(source: ReplaySource): string {
  return "chunk" in source ? `chunk ${source.chunk}` : Buffer.from(source.stored.digest).toString("latin1");
}
