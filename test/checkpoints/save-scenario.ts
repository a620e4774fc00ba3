import type { Tensor } from "../../formats/tensor.ts";
import type { Store } from "../../open-store.ts";
import type { Random } from "../../src/disk/random.ts";
import { SimulatedDisk, type SimulatedDiskOptions } from "../../src/disk/simulated-disk.ts";
import { isStoreError } from "../../src/errors.ts";
import { type IndexKind, openSimulated, STORE } from "./simulated-store.ts";

export type Model = Record<string, Tensor>;

/** What the program knew at a moment, written into the disk's trace. */
export type Note =
  | { kind: "saving"; ref: string; step: number }
  | { kind: "durable"; ref: string; version: number; step: number }
  | { kind: "tagging" | "tagged"; ref: string; version: number; tag: string }
  | { kind: "pruning"; ref: string };

export interface Scenario {
  disk: SimulatedDisk;
  /** The models that were saved, by step; a step is used once. */
  models: Map<number, Model>;
}

export const REFS = ["alpha", "beta"];

/** A small model of several kinds of tensors; every save changes a part of it. */
function nextModel(random: Random, parent: Model | undefined, large: boolean): Model {
  const bytes = (name: string, sizeBytes: number, changed: number) => {
    const before = parent?.[name]?.data as Uint8Array | undefined;
    const data = before?.byteLength === sizeBytes ? before.slice() : random.fill(new Uint8Array(sizeBytes));
    for (let i = 0; i < changed; i++) data[random.below(sizeBytes)] = random.below(256);
    return data;
  };
  const model: Model = {
    weight: { dtype: "F32", shape: [300], data: bytes("weight", 1200, 20) },
    bias: { dtype: "BF16", shape: [40], data: bytes("bias", 80, 2) },
    steady: { dtype: "U8", shape: [700], data: bytes("steady", 700, 0) },
  };
  // Larger than what a pack gathers before it writes: its frames reach the disk in several writes.
  if (large)
    model["embedding"] = { dtype: "F32", shape: [300_000], data: bytes("embedding", 1_200_000, 2000) };
  return model;
}

/** Runs random saves, tags, prunes, collections, recompressions and reopenings on a disk that remembers them all. */
export async function runScenario(
  random: Random,
  index: IndexKind,
  { operations, large = false }: { operations: number; large?: boolean },
): Promise<Scenario> {
  const disk = new SimulatedDisk({ trace: true, seed: random.next() });
  const models = new Map<number, Model>();
  const newest = new Map<string, Model>();
  let store = await openSimulated(disk, index);
  let tags = 0;
  for (let step = 1; step <= operations; step++) {
    const ref = random.pick(REFS);
    const known = versionsOf(store, ref);
    const dice = known.length === 0 ? 0 : random.below(14);
    if (dice < 6) {
      // Some saves bring an old model back: its chunks may lie in a pack, dead or alive.
      const again = models.size > 2 && random.chance(0.25) ? random.pick([...models.values()]) : undefined;
      const model = again ?? nextModel(random, newest.get(ref), large);
      models.set(step, model);
      newest.set(ref, model);
      const profile = random.pick(["fast", "compact"] as const);
      const options = { step, profile, resume: Uint8Array.of(step), metrics: { loss: 1 / step } };
      disk.mark({ kind: "saving", ref, step } satisfies Note);
      const { version } = await store.checkpoints.save(ref, model, options).durable;
      disk.mark({ kind: "durable", ref, version, step } satisfies Note);
    } else if (dice < 8) {
      const note = { ref, version: random.pick(known), tag: `t${tags++}` };
      disk.mark({ kind: "tagging", ...note } satisfies Note);
      await store.checkpoints.tag(`${ref}@${note.version}`, note.tag);
      disk.mark({ kind: "tagged", ...note } satisfies Note);
    } else if (dice < 9) {
      disk.mark({ kind: "pruning", ref } satisfies Note);
      await store.checkpoints.prune(ref, { keepLast: 2 });
    } else if (dice < 11) {
      await store.gc();
    } else if (dice < 13) {
      const recompressing = store.checkpoints.recompress({ bytesPerSecond: 1e12 });
      if (random.chance(0.5)) await store.gc();
      await recompressing;
    } else {
      await store.close();
      store = await openSimulated(disk, index);
    }
  }
  await store.close();
  return { disk, models };
}

export function versionsOf(store: Store, ref: string): number[] {
  try {
    return store.checkpoints.log(ref).map((record) => record.version);
  } catch (error) {
    if (isStoreError(error, "ERR_NOT_FOUND")) return [];
    throw error;
  }
}

/** What a store holds, in words that two openings can be compared by. */
export async function contentOf(store: Store): Promise<Record<string, string>> {
  const content: Record<string, string> = {};
  for (const { ref } of store.checkpoints.refs()) {
    for (const { version, step, tags, manifest } of store.checkpoints.log(ref)) {
      content[`${ref}@${version}`] = `${step} ${tags.join()} ${Buffer.from(manifest).toString("hex")}`;
    }
  }
  return content;
}

/** Restores a version and says what about it is not what was saved under its step. */
export async function faultOf(
  store: Store,
  name: string,
  models: Map<number, Model>,
): Promise<string | undefined> {
  const checkpoint = await store.checkpoints.open(name);
  const model = models.get(checkpoint.step!);
  if (model === undefined) return `${name} says step ${checkpoint.step}, which was never saved`;
  const restored = await store.checkpoints.restore(name);
  if ([...restored.keys()].sort().join() !== Object.keys(model).sort().join())
    return `${name}: other tensors`;
  for (const [tensor, { data, dtype }] of restored) {
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    if (dtype !== model[tensor]!.dtype || !bytes.equals(model[tensor]!.data as Uint8Array)) {
      return `${name}: tensor ${tensor} differs`;
    }
  }
  const resume = await checkpoint.resume();
  return resume?.[0] === (checkpoint.step! & 255) && resume.byteLength === 1
    ? undefined
    : `${name}: resume blob`;
}

/** What must be there after a crash at a moment with these notes, and what may be. */
export interface Expectation {
  /** `ref@version` → its step. */
  required: Map<string, number>;
  /** A save that was under way: its version may be there, whole. */
  inFlight: { ref: string; step: number } | undefined;
  tags: { ref: string; version: number; tag: string }[];
  prunedRefs: Set<string>;
}

export function expectationOf(notes: readonly Note[]): Expectation {
  const expected: Expectation = { required: new Map(), inFlight: undefined, tags: [], prunedRefs: new Set() };
  for (const note of notes) {
    if (note.kind === "saving") expected.inFlight = note;
    else if (note.kind === "durable") {
      expected.required.set(`${note.ref}@${note.version}`, note.step);
      expected.inFlight = undefined;
    } else if (note.kind === "tagged") expected.tags.push(note);
    else if (note.kind === "pruning") {
      // What prune may take: all but the newest two and the tagged.
      const versions = [...expected.required.keys()]
        .filter((name) => name.startsWith(`${note.ref}@`))
        .map((name) => Number(name.split("@")[1]));
      for (const version of versions.sort((a, b) => a - b).slice(0, -2)) {
        if (!expected.tags.some((tag) => tag.ref === note.ref && tag.version === version)) {
          expected.required.delete(`${note.ref}@${version}`);
        }
      }
      expected.prunedRefs.add(note.ref);
    }
  }
  return expected;
}

export interface Verdict {
  faults: string[];
}

/**
 * Opens what a crash left and holds it to its promises: every acknowledged version is there and bit-exact, nothing
 * is there that was never saved, opening again gives the same, and the store goes on working, gc included.
 */
export async function judge(
  disk: SimulatedDisk,
  index: IndexKind,
  notes: readonly Note[],
  models: Map<number, Model>,
): Promise<Verdict> {
  const faults: string[] = [];
  const expected = expectationOf(notes);
  let store: Store;
  try {
    store = await openSimulated(disk, index, { create: notes.length === 0 });
  } catch (error) {
    return { faults: [`the store does not open: ${(error as Error).message}`] };
  }
  try {
    const content = await contentOf(store);
    faults.push(...compare(content, expected));
    for (const name of Object.keys(content)) {
      const fault = await faultOf(store, name, models);
      if (fault !== undefined) faults.push(fault);
    }
    for (const { ref, version, tag } of expected.tags) {
      const found = await store.checkpoints.open(`${ref}@${tag}`);
      if (found.version !== version) faults.push(`tag ${tag} of ${ref} names ${found.version}`);
    }
    await store.close();
    store = await openSimulated(disk, index);
    const again = await contentOf(store);
    if (JSON.stringify(again) !== JSON.stringify(content)) faults.push("opening twice gives two answers");
    faults.push(...(await goesOn(store, disk, index, models)));
  } catch (error) {
    faults.push(String((error as Error).stack));
  } finally {
    await store.close();
  }
  return { faults };
}

function compare(content: Record<string, string>, expected: Expectation): string[] {
  const faults: string[] = [];
  for (const [name, step] of expected.required) {
    if (content[name] === undefined) faults.push(`${name} was durable and is gone`);
    else if (!content[name].startsWith(`${step} `))
      faults.push(`${name} is ${content[name]}, not step ${step}`);
  }
  for (const [name, text] of Object.entries(content)) {
    const [ref] = name.split("@") as [string];
    const inFlight = expected.inFlight?.ref === ref && text.startsWith(`${expected.inFlight.step} `);
    if (!expected.required.has(name) && !inFlight && !expected.prunedRefs.has(ref)) {
      faults.push(`${name} was never acknowledged and is there`);
    }
  }
  return faults;
}

/** Saves everything that was ever saved once more, collects, and restores all: what a crash left must not be built on. */
async function goesOn(
  store: Store,
  disk: SimulatedDisk,
  index: IndexKind,
  models: Map<number, Model>,
): Promise<string[]> {
  const faults: string[] = [];
  for (const [step, model] of models) {
    const options = { step, resume: Uint8Array.of(step) };
    await store.checkpoints.save("after", model, options).durable;
    if (step === 1) await store.gc();
  }
  await store.close();
  const reopened = await openSimulated(disk.killed({ seed: 1 }), index);
  try {
    for (const name of Object.keys(await contentOf(reopened))) {
      const fault = await faultOf(reopened, name, models);
      if (fault !== undefined) faults.push(`after going on, ${fault}`);
    }
    await reopened.gc();
    for (const name of Object.keys(await contentOf(reopened))) {
      const fault = await faultOf(reopened, name, models);
      if (fault !== undefined) faults.push(`after gc, ${fault}`);
    }
    const check = await reopened.check({ readData: true });
    for (const { what, where, versions } of check.problems) {
      // There is no LMDB on a simulated disk, to tell an unfinished save from damage: what hits no version is neither.
      if (versions.length > 0) faults.push(`check: ${what} (${where})`);
    }
  } finally {
    await reopened.close();
  }
  return faults;
}

export { type SimulatedDiskOptions, STORE };
