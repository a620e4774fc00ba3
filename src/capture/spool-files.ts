import { createClaimed, sweepUnclaimed } from "../disk/claimed-file.ts";
import type { Disk, DiskFile } from "../disk/disk.ts";
import { WARMTH } from "./warm-spool.job.ts";

/** A scratch file for captured bytes; nothing in it is ever needed after its process has ended. */
export interface SpoolFile {
  path: string;
  file: DiskFile;
  /** As long as no capture has used it: how far its pages are found (see `WARMTH`), and who looks for them is told to end. */
  warming?: Int32Array | undefined;
}

/**
 * The spool of a save that is stored: raw bytes to encode the next save against, as long as nobody needs the room.
 * What it holds may be overwritten at any moment, so whoever reads it compares digests.
 */
export interface KeptSpool {
  sizeBytes: number;
  /** Set once it is given up: others write there. */
  isGone: boolean;
  /** Where a piece's bytes lie; `undefined` for one that waited in staging memory instead, and for all once it is gone. */
  rangeOf(piece: number): { path: string; offset: number } | undefined;
}

const SUFFIX = ".spool";

/**
 * The spool files of one process. Each is held locked, so that whoever opens the store later can tell a file in use
 * from one that a killed process left. One is kept from save to save: writing again what is in the page cache runs at
 * the speed of memory, while a new file's pages have to be found first.
 */
export class SpoolFiles {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #idle: SpoolFile[] = [];
  /** Oldest first. */
  readonly #kept: { kept: KeptSpool; spool: SpoolFile }[] = [];
  #keptBytes = 0;
  /** Paths of closed files that are about to be removed. */
  readonly #leaving = new Set<string>();
  #swept = false;

  constructor(disk: Disk, directory: string) {
    this.#disk = disk;
    this.#directory = directory;
  }

  /** What kept spools take. */
  get keptBytes(): number {
    return this.#keptBytes;
  }

  /** Keeps a spool that would be released otherwise. */
  keep(kept: KeptSpool, spool: SpoolFile): void {
    this.#kept.push({ kept, spool });
    this.#keptBytes += kept.sizeBytes;
  }

  /** Gives up the oldest kept spool, another one than `but` if there is any. */
  dropOldest(but: KeptSpool | undefined): void {
    this.drop((this.#kept.find(({ kept }) => kept !== but) ?? this.#kept[0])?.kept);
  }

  drop(kept: KeptSpool | undefined): void {
    const spool = this.#take(kept);
    if (spool !== undefined) this.release(spool);
  }

  /**
   * Gives up a kept spool for good. Its pages would be written to the device half a minute later, to no end and in the way
   * of whoever saves then.
   *
   * @param remove removes a file that is closed, soon, and resolves when it has
   */
  discard(kept: KeptSpool, remove: (path: string) => Promise<void>): void {
    const spool = this.#take(kept);
    if (spool === undefined) return;
    this.#leave(spool, remove);
    // What was prepared for the next save like that one is not wanted either.
    const prepared = this.#idle.findIndex(({ warming }) => warming !== undefined);
    if (prepared >= 0) this.#leave(used(this.#idle.splice(prepared, 1)[0]!), remove);
  }

  #leave({ path, file }: SpoolFile, remove: (path: string) => Promise<void>): void {
    file.close();
    this.#leaving.add(path);
    remove(path).then(
      () => this.#leaving.delete(path),
      // Removed when the store is closed.
      () => {},
    );
  }

  /**
   * Where no file waits for the next capture, makes one.
   *
   * @param warm has the system find the pages of an empty file of `sizeBytes`, until it is told to stop
   */
  prepare(sizeBytes: number, warm: (path: string, stop: Int32Array) => Promise<unknown>): void {
    if (this.#idle.length > 0) return;
    const spool = this.#create();
    try {
      spool.file.truncate(sizeBytes);
    } catch (error) {
      this.#remove(spool);
      throw error;
    }
    const warming = new Int32Array(new SharedArrayBuffer(4));
    this.#idle.push({ ...spool, warming });
    // Pages that it did not find are found by who writes them.
    warm(spool.path, warming).catch(() => Atomics.store(warming, 0, WARMTH.warm));
  }

  #take(kept: KeptSpool | undefined): SpoolFile | undefined {
    const at = this.#kept.findIndex((each) => each.kept === kept);
    if (at < 0) return undefined;
    const [taken] = this.#kept.splice(at, 1);
    this.#keptBytes -= taken!.kept.sizeBytes;
    taken!.kept.isGone = true;
    return taken!.spool;
  }

  /**
   * A file for a capture of `sizeBytes`. While the pages of the one that waits are still being found, a kept spool is
   * written over instead: to decode what it held costs a save a tenth of its time, to find a gigabyte of pages two seconds in
   * which the tensors are not captured.
   *
   * @param own what the save before kept: nobody else's is lost then
   */
  acquire(sizeBytes: number, own?: KeptSpool): SpoolFile {
    const waiting = this.#idle.at(-1);
    if (waiting?.warming !== undefined && Atomics.load(waiting.warming, 0) === WARMTH.warming) {
      const fits = this.#kept.filter(({ kept }) => kept.sizeBytes >= sizeBytes);
      const over = fits.find(({ kept }) => kept === own) ?? fits[0];
      if (over !== undefined) return this.#take(over.kept)!;
    }
    const idle = this.#idle.pop();
    return idle === undefined ? this.#create() : used(idle);
  }

  #create(): SpoolFile {
    this.#disk.makeDirectory(this.#directory);
    if (!this.#swept) this.sweep();
    return createClaimed(this.#disk, (unique) => `${this.#directory}/${unique}${SUFFIX}`);
  }

  release(spool: SpoolFile): void {
    if (this.#idle.length === 0) this.#idle.push(spool);
    else this.#remove(spool);
  }

  #remove(spool: SpoolFile): void {
    const { path, file } = used(spool);
    this.#disk.remove(path);
    file.close();
  }

  /** Removes what killed processes left behind. */
  sweep(): void {
    this.#swept = true;
    sweepUnclaimed(this.#disk, this.#directory, SUFFIX);
  }

  close(): void {
    while (this.#kept.length > 0) this.dropOldest(undefined);
    for (const spool of this.#idle.splice(0)) this.#remove(spool);
    for (const path of this.#leaving) this.#disk.remove(path);
    this.#leaving.clear();
  }
}

/** A file whose pages need not be found any more. */
function used({ path, file, warming }: SpoolFile): SpoolFile {
  if (warming !== undefined) Atomics.store(warming, 0, WARMTH.stop);
  return { path, file };
}
