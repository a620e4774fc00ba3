import { type CrashState, crashStates } from "../../src/disk/crash-states.ts";
import type { Fault } from "../../src/disk/faults.ts";
import { Random } from "../../src/disk/random.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { isStoreError } from "../../src/errors.ts";
import type { JournalEntry } from "../../src/wal/journal.ts";
import type { WriteAheadLog } from "../../src/wal/log.ts";
import { openLog } from "../../src/wal/open-log.ts";
import { readEntries } from "../../src/wal/read-log.ts";
import { type Recovery, recover } from "../../src/wal/recovery.ts";

export const DIRECTORY = "/store/critical";
export const MIRROR = "/mirror/critical";
export const STORE_ID = new Uint8Array(16).fill(0xa5);

/** What was promised when the note was written. */
interface Promised {
  /** The highest LSN acknowledged, the highest that was handed over, and the lowest that must still be there. */
  acked: number;
  issued: number;
  trimmed: number;
}

/** What the log must hold: each record by its LSN. */
class Model {
  readonly content = new Map<number, Uint8Array>();
  promised: Promised = { acked: 0, issued: 0, trimmed: 1 };
}

export interface ExploreOptions {
  seed: number;
  /** Stops after at least so many crash states. */
  states: number;
  withMirror?: boolean;
  segmentBlocks?: number;
}

export interface Explored {
  states: number;
  /** States whose power failed while recovery itself was writing. */
  duringRecovery: number;
  torn: number;
  lives: number;
  /** Lives that an I/O error or a full disk ended. */
  failed: number;
}

/**
 * Runs random workloads on the simulated disk and looks at what a power cut at every write, sync and rename could
 * leave: all acknowledged records are there, whole, in order, nothing that was never handed over, and looking
 * twice tells the same. Throws with the seed when a state breaks that.
 */
export async function explore(options: ExploreOptions): Promise<Explored> {
  const random = new Random(options.seed);
  const found: Explored = { states: 0, duringRecovery: 0, torn: 0, lives: 0, failed: 0 };
  let disk = freshDisk(random);
  let model = new Model();
  options = { segmentBlocks: 4 + random.below(5), ...options };
  while (found.states < options.states) {
    found.lives++;
    if (found.lives % 8 === 1) disk.inject(certainFault(random));
    else if (random.chance(0.25)) disk.inject(someFault(random));
    const crashed = await liveOrFail(disk, model, random, options, found);
    examine(disk, model, random, options, found);
    // The next life begins where the power failed, or on a new disk.
    if (crashed === undefined || found.lives % 4 === 0) {
      disk = freshDisk(random);
      model = new Model();
    } else {
      disk = crashed;
      model = modelOf(disk, options);
    }
  }
  return found;
}

function freshDisk(random: Random): SimulatedDisk {
  const disk = new SimulatedDisk({ seed: random.next(), trace: true });
  for (const directory of ["/store", "/mirror"]) disk.makeDirectory(directory);
  disk.syncDirectory("/");
  return disk;
}

export function directoriesOf(options: { withMirror?: boolean }): string[] {
  return options.withMirror ? [DIRECTORY, MIRROR] : [DIRECTORY];
}

export function open(
  disk: SimulatedDisk,
  options: { withMirror?: boolean; segmentBlocks?: number },
): WriteAheadLog {
  const mirror = options.withMirror ? { mirror: MIRROR } : {};
  const segmentBlocks = options.segmentBlocks ?? 8;
  return openLog({
    disk,
    directory: DIRECTORY,
    storeId: STORE_ID,
    segmentBlocks,
    ...mirror,
    sealAfterMs: 1e9,
  });
}

function modelOf(disk: SimulatedDisk, options: ExploreOptions): Model {
  const model = new Model();
  const { recovery, entries } = look(disk, options);
  for (const entry of entries) model.content.set(Number(entry.lsn), entry.payload.slice());
  const last = recovery.nextLsn - 1;
  const first = entries.length === 0 ? recovery.nextLsn : Number(entries[0]!.lsn);
  model.promised = { acked: last, issued: last, trimmed: first };
  return model;
}

function payload(random: Random): Uint8Array {
  const kind = random.below(10);
  const size = kind < 6 ? random.below(600) : kind < 9 ? random.below(4500) : random.below(11_000);
  const bytes = new Uint8Array(size);
  let value = random.next();
  for (let index = 0; index < size; index++) {
    value = (Math.imul(value, 1664525) + 1013904223) | 0;
    bytes[index] = value >>> 24;
  }
  return bytes;
}

/** An error of the disk somewhere in a life, on the log or on its mirror. */
function someFault(random: Random): Fault {
  const effect = random.chance(0.5)
    ? { kind: "EIO" as const }
    : { kind: "ENOSPC" as const, shortBytes: random.below(5000) };
  const path = random.pick(["/store/critical/wal-0", "/mirror/critical/wal-0", "critical"]);
  return {
    on: random.pick(["write", "write", "write", "sync", "syncDirectory"]),
    path,
    after: random.below(25),
    effect,
  };
}

/** An error on one of the first writes of a life: hardly any is so short that it does not meet it. */
function certainFault(random: Random): Fault {
  return { on: "write", path: "/store/critical/wal-0", after: random.below(4), effect: { kind: "EIO" } };
}

/** A life that an error of the disk may end; after one, nothing more may be acknowledged. */
async function liveOrFail(
  disk: SimulatedDisk,
  model: Model,
  random: Random,
  options: ExploreOptions,
  found: Explored,
): Promise<SimulatedDisk | undefined> {
  const living: { log?: WriteAheadLog } = {};
  try {
    return await live(disk, model, random, options, living);
  } catch (error) {
    if (!isStoreError(error) || !["ERR_POISONED", "ERR_IO", "ERR_DISK_FULL"].includes(error.code))
      throw error;
    found.failed++;
    if (error.code === "ERR_POISONED") {
      const code = codeOf(() => living.log!.appendSync({ payload: new Uint8Array(1), timeUs: 1n }));
      // Poisoned while closing, it is closed as well.
      if (code !== "ERR_POISONED" && code !== "ERR_CLOSED")
        throw new Error(`seed ${options.seed}: acknowledged after a failed write`);
    }
    return disk.crashed(random, { trace: true });
  }
}

/** One process's life on the disk, ended by close or by a power cut, which returns the next disk. */
async function live(
  disk: SimulatedDisk,
  model: Model,
  random: Random,
  options: ExploreOptions,
  living: { log?: WriteAheadLog },
): Promise<SimulatedDisk | undefined> {
  const note = (change: Partial<Promised>) => {
    model.promised = { ...model.promised, ...change };
    disk.mark(model.promised);
  };
  disk.mark(model.promised);
  let log = open(disk, options);
  living.log = log;
  const issue = (record: Uint8Array) => {
    note({ issued: model.promised.issued + 1 });
    model.content.set(model.promised.issued, record);
    return { payload: record, timeUs: BigInt(model.promised.issued) };
  };
  for (let step = 0; step < 12; step++) {
    const kind = random.below(20);
    if (kind < 9) {
      const { lsn } = log.appendSync(issue(payload(random)));
      note({ acked: Number(lsn) });
    } else if (kind < 14) {
      const appends = Array.from({ length: 1 + random.below(6) }, () => log.append(issue(payload(random))));
      for (const append of appends) append.catch(() => {});
      if (random.chance(0.3)) {
        // While those are on their way, so many more that they follow them without a wait.
        await Promise.resolve();
        const behind = Array.from({ length: 16 + random.below(8) }, () =>
          log.append(issue(payload(random).subarray(0, 40))),
        );
        for (const append of behind) append.catch(() => {});
        if (random.chance(0.7)) await new Promise((resolve) => setImmediate(resolve));
        appends.push(...behind);
      }
      const meet = random.chance(0.3) ? log.appendSync(issue(payload(random))) : undefined;
      if (meet !== undefined) note({ acked: Number(meet.lsn) });
      for (const append of appends) {
        const { lsn } = await append;
        note({ acked: Math.max(model.promised.acked, Number(lsn)) });
      }
    } else if (kind < 18) {
      const lsn = Math.max(model.promised.trimmed, model.promised.acked - random.below(4));
      note({ trimmed: lsn });
      log.trim(BigInt(lsn));
    } else if (kind < 19) {
      await new Promise((resolve) => setImmediate(resolve));
    } else {
      await log.close();
      log = open(disk, options);
      living.log = log;
    }
  }
  if (random.chance(0.5)) {
    await log.close();
    return undefined;
  }
  return disk.crashed(random, { trace: true });
}

interface Seen {
  recovery: Recovery;
  entries: JournalEntry[];
}

/** What recovery would keep, without changing anything. */
export function look(disk: SimulatedDisk, options: { withMirror?: boolean; segmentBlocks?: number }): Seen {
  const directories = directoriesOf(options);
  const segmentBlocks = options.segmentBlocks ?? 8;
  const recovery = recover({ disk, directories, storeId: STORE_ID, segmentBlocks });
  const copies = directories.map((directory) => ({ disk, directory }));
  const range = { start: recovery.logStart, through: recovery.nextSequence - 1, lsn: 0n };
  const entries = recovery.isEmpty ? [] : [...readEntries(copies, { ...recovery, storeId: STORE_ID }, range)];
  return { recovery, entries };
}

function examine(
  disk: SimulatedDisk,
  model: Model,
  random: Random,
  options: ExploreOptions,
  found: Explored,
): void {
  const crash = { samples: 3, everySubsetOfSectors: 8, stride: 2 };
  for (const state of crashStates(disk, random, crash)) {
    found.states++;
    const promised = state.marks.at(-1) as Promised | undefined;
    try {
      const seen = look(state.disk, options);
      check(seen, model, promised);
      if (seen.recovery.torn !== undefined) found.torn++;
      if (found.states % 40 === 0) recoverAndCrash(state, seen, random, options, found);
    } catch (error) {
      throw new Error(
        `crash state ${found.states} (event ${state.events}, in flight: ${state.inFlight?.kind ?? "nothing"}, ` +
          `promised ${JSON.stringify(promised)}) of seed ${options.seed}: ${(error as Error).message}`,
        { cause: error },
      );
    }
    if (found.states >= options.states) return;
  }
}

function check({ recovery, entries }: Seen, model: Model, promised: Promised | undefined): void {
  if (promised === undefined) return;
  const last = recovery.nextLsn - 1;
  if (last < promised.acked) throw new Error(`acknowledged through LSN ${promised.acked}, found ${last}`);
  if (last > promised.issued) throw new Error(`handed over through LSN ${promised.issued}, found ${last}`);
  const first = entries.length === 0 ? recovery.nextLsn : Number(entries[0]!.lsn);
  if (entries.length > 0 && first > promised.trimmed) throw new Error(`LSN ${promised.trimmed} is gone`);
  if (entries.length === 0 && promised.trimmed <= promised.acked) throw new Error("every record is gone");
  if (entries.length !== recovery.nextLsn - first)
    throw new Error(`${entries.length} records from ${first} to ${last}`);
  for (const [index, entry] of entries.entries()) {
    const lsn = first + index;
    if (Number(entry.lsn) !== lsn) throw new Error(`LSN ${entry.lsn} where ${lsn} belongs`);
    const expected = model.content.get(lsn);
    if (expected === undefined) continue;
    if (Buffer.compare(expected, entry.payload) !== 0) throw new Error(`record ${lsn} differs`);
  }
}

/** Opens the crashed log for writing, lets the power fail again on the way, and appends after that. */
function recoverAndCrash(
  state: CrashState,
  seen: Seen,
  random: Random,
  options: ExploreOptions,
  found: Explored,
): void {
  const traced = state.disk.killed({ seed: random.next(), trace: true });
  const log = open(traced, options);
  const same = (again: Seen, extra = 0) => {
    const added = again.recovery.nextLsn - seen.recovery.nextLsn;
    if (added < 0 || added > extra) throw new Error(`recovered ${added} records more the second time`);
    if (again.entries.length - added !== seen.entries.length)
      throw new Error("recovered other records the second time");
    for (const [index, entry] of seen.entries.entries()) {
      if (Buffer.compare(again.entries[index]!.payload, entry.payload) !== 0) {
        throw new Error(`record ${entry.lsn} differs the second time`);
      }
    }
  };
  same(look(traced, options));
  for (const again of crashStates(traced, random, { samples: 2 })) {
    found.states++;
    found.duringRecovery++;
    same(look(again.disk, options));
  }
  const record = payload(random);
  const { lsn } = log.appendSync({ payload: record, timeUs: 1n });
  const after = look(traced.crashed(random), options);
  same(after, 1);
  if (Number(lsn) !== after.recovery.nextLsn - 1 || Number(lsn) !== seen.recovery.nextLsn) {
    throw new Error(`LSN ${lsn} was acknowledged after recovery and is not there`);
  }
}

/** Whether an attempt ended in one of these errors; anything else is thrown on. */
export function codeOf(action: () => unknown): string | undefined {
  try {
    action();
  } catch (error) {
    if (isStoreError(error)) return error.code;
    throw error;
  }
  return undefined;
}
