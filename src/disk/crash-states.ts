import { invariant } from "../assert.ts";
import type { DiskEvent, DiskImage } from "./disk-image.ts";
import type { Random } from "./random.ts";
import { SECTOR_BYTES } from "./sectors.ts";
import { SimulatedDisk, type SimulatedDiskOptions } from "./simulated-disk.ts";

export interface CrashState {
  /** The disk as the machine finds it when it comes up again. */
  disk: SimulatedDisk;
  /** How many events of the trace had ended when the power failed. */
  events: number;
  /** The change that was in flight, if any. */
  inFlight: DiskEvent | undefined;
  /** The notes (`disk.mark`) made before the crash, oldest first; valid until the next state is asked for. */
  marks: readonly unknown[];
}

export interface CrashOptions {
  /** Sampled states for each event in flight and after each event; 1 by default. */
  samples?: number;
  /** All subsets, new or old, of the sectors each durable write changes, up to this many; 0 (none) by default. */
  everySubsetOfSectors?: number;
  /** Of every so many events one is looked at; 1 by default. */
  stride?: number;
  /** Options of the disks that come out. */
  disk?: SimulatedDiskOptions;
}

/** The events that change what a crash can leave behind. */
const TELLING = new Set<DiskEvent["kind"]>([
  "write",
  "sync",
  "rename",
  "remove",
  "truncate",
  "syncDirectory",
]);

/**
 * Walks through everything that happened on a traced disk and yields the states a power cut could have left: with
 * each change in flight, and after each. The states depend on the trace and `random` alone.
 */
export function* crashStates(
  disk: SimulatedDisk,
  random: Random,
  options: CrashOptions = {},
): Generator<CrashState> {
  invariant(disk.origin !== undefined, "crash states need a disk made with `trace: true`");
  const image = disk.origin.clone();
  const marks: unknown[] = [];
  const samples = options.samples ?? 1;
  const stride = options.stride ?? 1;
  const wake = (found: DiskImage) => new SimulatedDisk({ seed: random.next(), ...options.disk }, found);
  for (const [events, event] of disk.trace.entries()) {
    const looked = TELLING.has(event.kind) && (stride === 1 || random.below(stride) === 0);
    if (looked) {
      for (let sample = 0; sample < samples; sample++) {
        yield { disk: wake(image.crashed(random, event)), events, inFlight: event, marks };
      }
      for (const found of subsets(image, event, options.everySubsetOfSectors ?? 0, random)) {
        yield { disk: wake(found), events, inFlight: event, marks };
      }
    }
    image.apply(event);
    if (event.kind === "mark") marks.push(event.value);
    if (looked || event.kind === "mark") {
      yield { disk: wake(image.crashed(random)), events: events + 1, inFlight: undefined, marks };
    }
  }
}

/**
 * The image with each possible subset of a durable write's sectors on the device. Sectors that the write does not
 * change are left out of the count, so that no state comes twice.
 */
function* subsets(image: DiskImage, event: DiskEvent, limit: number, random: Random): Generator<DiskImage> {
  if (event.kind !== "write" || !event.durable) return;
  const before = image.files.get(event.inode)!;
  const old = new Uint8Array(SECTOR_BYTES);
  const changed: DiskEvent[] = [];
  for (let start = 0; start < event.bytes.byteLength; start += SECTOR_BYTES) {
    const bytes = event.bytes.subarray(start, start + SECTOR_BYTES);
    const position = event.position + start;
    old.fill(0);
    before.read(old, position);
    if (Buffer.compare(old, bytes) !== 0) changed.push({ ...event, bytes, position });
  }
  if (changed.length > limit) return;
  for (let subset = 0; subset < 2 ** changed.length; subset++) {
    const found = image.crashed(random, undefined, "old");
    if (!found.files.has(event.inode)) return;
    for (const [index, sector] of changed.entries()) if (((subset >>> index) & 1) === 1) found.apply(sector);
    yield found;
  }
}
