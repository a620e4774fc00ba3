import { dirname, normalize } from "node:path/posix";
import { StoreError } from "../errors.ts";
import type { Disk, DiskFile, FileStat, OpenOptions } from "./disk.ts";
import { type DiskEvent, DiskImage } from "./disk-image.ts";
import { type Fault, type FaultEffect, type FaultOperation, Faults } from "./faults.ts";
import { Random } from "./random.ts";
import type { SectorFile } from "./sectors.ts";
import { type FileHost, FileLocks, SimulatedFile, simulatedError } from "./simulated-file.ts";

export interface SimulatedDiskOptions {
  /** Fixes every random choice. */
  seed?: number;
  /** A full disk beyond this; unlimited by default. */
  capacityBytes?: number;
  /** Keeps every change, so that `crashStates` can walk through them; off by default (it keeps all bytes written). */
  trace?: boolean;
  /** Whether files can be mapped; default true. */
  maps?: boolean;
}

/**
 * A disk in memory that knows what a power cut would leave: 512-byte sectors that are old, new or garbage until
 * they are durable, names that are durable only after `syncDirectory`, and faults on demand. Paths are absolute,
 * `/` separated. The same seed and calls give the same bytes.
 *
 * It behaves like the real disk where callers can see it (the conformance suite holds both to that) and is
 * nowhere kinder: a synced file without a synced name is gone after a crash.
 */
export class SimulatedDisk implements Disk, FileHost {
  readonly kind = "simulated";
  readonly random: Random;
  /** Every change since the disk was made, when it was made with `trace`. */
  readonly trace: DiskEvent[] = [];
  /** What the disk held before the first event of the trace. */
  readonly origin: DiskImage | undefined;
  readonly #image: DiskImage;
  readonly #faults = new Faults();
  readonly #locks = new Map<number, FileLocks>();
  readonly #capacityBytes: number;
  readonly maps: boolean;
  #nextInode: number;
  #clockMs = 1_700_000_000_000;

  constructor(options: SimulatedDiskOptions = {}, image = new DiskImage()) {
    this.random = new Random(options.seed ?? 1);
    this.#capacityBytes = options.capacityBytes ?? Number.POSITIVE_INFINITY;
    this.maps = options.maps ?? true;
    this.#image = image;
    this.#nextInode = Math.max(1, ...image.files.keys()) + 1;
    this.origin = options.trace ? image.clone() : undefined;
  }

  /** Makes a later call go wrong. */
  inject(fault: Fault): void {
    this.#faults.arm(fault);
  }

  /** Writes a note into the trace: what a caller knew at that moment, for instance which commit was acknowledged. */
  mark(value: unknown): void {
    this.#apply({ kind: "mark", value });
  }

  /** Flips a stored bit: rot on the device. */
  flipBit(path: string, bitOffset: number): void {
    this.#apply({ kind: "flip", inode: this.#inodeOf(path, "flip"), bitOffset });
  }

  /** The disk after the process was killed: everything written is there, locks are free, nothing more is durable. */
  killed(options: SimulatedDiskOptions = {}): SimulatedDisk {
    const defaults = { seed: this.random.next(), capacityBytes: this.#capacityBytes };
    return new SimulatedDisk({ ...defaults, ...options }, this.#image.clone());
  }

  /** The disk after a power cut now. */
  crashed(random: Random = this.random, options: SimulatedDiskOptions = {}): SimulatedDisk {
    return new SimulatedDisk({ seed: random.next(), ...options }, this.#image.crashed(random));
  }

  open(path: string, options: OpenOptions): DiskFile {
    const name = normalize(path);
    const effect = this.#faults.next("open", name);
    if (effect !== undefined) throw simulatedError(path, "open", effect.kind === "ENOSPC" ? "ENOSPC" : "EIO");
    const entry = this.#image.names.get(name);
    const create = options.create ?? "never";
    if (entry === "directory") {
      throw new StoreError("ERR_IO", `open ${path}: EISDIR: it is a directory`, {
        context: { path, action: "open", errno: "EISDIR" },
      });
    }
    if (entry !== undefined && create === "must") {
      throw new StoreError("ERR_EXISTS", `open ${path}: it exists already`, {
        context: { path, action: "open", errno: "EEXIST" },
      });
    }
    if (entry === undefined && (create === "never" || !this.#hasDirectory(dirname(name)))) {
      throw notFound(path, "open");
    }
    const inode = entry ?? this.#nextInode++;
    if (entry === undefined) this.#apply({ kind: "create", path: name, inode });
    const durable = options.durable === true ? "direct" : options.durable || undefined;
    const mode = { write: options.access === "write" };
    return new SimulatedFile(path, inode, this, durable === undefined ? mode : { ...mode, durable });
  }

  stat(path: string): FileStat | undefined {
    const entry = this.#image.names.get(normalize(path));
    if (entry === undefined) return undefined;
    const isDirectory = entry === "directory";
    const sizeBytes = isDirectory ? 4096 : this.content(entry).sizeBytes;
    return {
      sizeBytes,
      deviceBytes: Math.ceil(sizeBytes / 512) * 512,
      isDirectory,
      isFile: !isDirectory,
      modifiedMs: this.#clockMs,
      device: 1n,
      inode: isDirectory ? 1n : BigInt(entry),
      bornNs: 0n,
    };
  }

  list(directory: string): string[] {
    const name = normalize(directory);
    const prefix = name.endsWith("/") ? name : `${name}/`;
    const found: string[] = [];
    for (const path of this.#image.names.keys()) {
      if (path.length > prefix.length && path.startsWith(prefix) && !path.includes("/", prefix.length)) {
        found.push(path.slice(prefix.length));
      }
    }
    return found.sort();
  }

  makeDirectory(path: string): void {
    const name = normalize(path).replace(/(.)\/$/, "$1");
    if (this.#hasDirectory(name)) return;
    if (dirname(name) !== name) this.makeDirectory(dirname(name));
    this.#apply({ kind: "makeDirectory", path: name });
  }

  rename(from: string, to: string): void {
    const [source, target] = [normalize(from), normalize(to)];
    if (typeof this.#image.names.get(source) !== "number") throw notFound(from, `rename to ${to}:`);
    if (!this.#hasDirectory(dirname(target))) throw notFound(from, `rename to ${to}:`);
    this.#apply({ kind: "rename", from: source, to: target });
  }

  remove(path: string): void {
    const name = normalize(path);
    if (this.#image.names.has(name)) this.#apply({ kind: "remove", path: name });
  }

  syncDirectory(path: string): void {
    const name = normalize(path).replace(/(.)\/$/, "$1");
    if (!this.#hasDirectory(name)) throw notFound(path, "sync directory");
    const effect = this.#faults.next("syncDirectory", name);
    if (effect?.kind === "lost") return;
    if (effect !== undefined) throw simulatedError(path, "sync directory", "EIO");
    this.#apply({ kind: "syncDirectory", path: name });
  }

  async syncDirectoryAsync(path: string): Promise<void> {
    await Promise.resolve();
    this.syncDirectory(path);
  }

  freeBytes(_path: string): number | undefined {
    return this.#capacityBytes === Number.POSITIVE_INFINITY ? undefined : this.room();
  }

  content(inode: number): SectorFile {
    return this.#image.files.get(inode)!;
  }

  write(inode: number, bytes: Uint8Array, position: number, durable: boolean): void {
    this.#apply({ kind: "write", inode, bytes, position, durable });
  }

  sync(inode: number, failed: boolean): void {
    this.#apply({ kind: "sync", inode, failed });
  }

  truncate(inode: number, sizeBytes: number): void {
    this.#apply({ kind: "truncate", inode, sizeBytes });
  }

  room(): number {
    if (this.#capacityBytes === Number.POSITIVE_INFINITY) return this.#capacityBytes;
    let used = 0;
    for (const file of this.#image.files.values()) used += file.sizeBytes;
    return Math.max(0, this.#capacityBytes - used);
  }

  fault(on: FaultOperation, path: string): FaultEffect | undefined {
    return this.#faults.next(on, path);
  }

  locksOf(inode: number): FileLocks {
    let locks = this.#locks.get(inode);
    if (locks === undefined) {
      locks = new FileLocks();
      this.#locks.set(inode, locks);
    }
    return locks;
  }

  #apply(event: DiskEvent): void {
    this.#clockMs++;
    this.#image.apply(event);
    if (this.origin !== undefined) this.trace.push(event);
  }

  #hasDirectory(name: string): boolean {
    return this.#image.names.get(name) === "directory";
  }

  #inodeOf(path: string, action: string): number {
    const entry = this.#image.names.get(normalize(path));
    if (typeof entry !== "number") throw notFound(path, action);
    return entry;
  }
}

function notFound(path: string, action: string): StoreError {
  return new StoreError("ERR_NOT_FOUND", `${action} ${path}: no such file`, {
    context: { path, action, errno: "ENOENT" },
  });
}
