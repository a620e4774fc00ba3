import { invariant } from "../assert.ts";
import { StoreError } from "../errors.ts";
import { checkAligned } from "./aligned.ts";
import type { DiskFile, DurableMethod, FileMap } from "./disk.ts";
import type { FaultEffect, FaultOperation } from "./faults.ts";
import type { Random } from "./random.ts";
import { SECTOR_BYTES, type SectorFile } from "./sectors.ts";

/** What an open file needs of the disk it lies on. */
export interface FileHost {
  readonly random: Random;
  content(inode: number): SectorFile;
  write(inode: number, bytes: Uint8Array, position: number, durable: boolean): void;
  sync(inode: number, failed: boolean): void;
  truncate(inode: number, sizeBytes: number): void;
  /** Bytes that still fit on the device. */
  room(): number;
  /** Whether files can be mapped. */
  readonly maps: boolean;
  fault(on: FaultOperation, path: string): FaultEffect | undefined;
  locksOf(inode: number): FileLocks;
}

/** The kernel's lock on one inode. */
export class FileLocks {
  readonly #holders = new Map<object, "shared" | "exclusive">();
  #waiting: (() => void)[] = [];

  take(holder: object, mode: "shared" | "exclusive"): boolean {
    for (const [other, held] of this.#holders) {
      if (other !== holder && (mode === "exclusive" || held === "exclusive")) return false;
    }
    this.#holders.set(holder, mode);
    return true;
  }

  release(holder: object): void {
    if (this.#holders.delete(holder)) for (const wake of this.#waiting.splice(0)) wake();
  }

  changed(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

export function simulatedError(path: string, action: string, errno: "EIO" | "ENOSPC"): StoreError {
  const full = errno === "ENOSPC";
  return new StoreError(
    full ? "ERR_DISK_FULL" : "ERR_IO",
    `${action} ${path}: ${full ? "the disk is full" : "EIO: i/o error (simulated)"}`,
    { context: { path, action, errno }, retryable: full },
  );
}

export class SimulatedFile implements DiskFile {
  readonly path: string;
  readonly durability: DurableMethod | undefined;
  readonly #inode: number;
  readonly #host: FileHost;
  readonly #writable: boolean;
  #open = true;
  #map: { from: number; end: number } | undefined;

  constructor(
    path: string,
    inode: number,
    host: FileHost,
    mode: { write: boolean; durable?: DurableMethod },
  ) {
    this.path = path;
    this.#inode = inode;
    this.#host = host;
    this.#writable = mode.write;
    this.durability = mode.durable;
  }

  sizeBytes(): number {
    return this.#content("stat").sizeBytes;
  }

  readSync(target: Uint8Array, position: number): number {
    const content = this.#content("read");
    const effect = this.#host.fault("read", this.path);
    if (effect?.kind === "EIO") throw simulatedError(this.path, "read", "EIO");
    const count = content.read(target, position);
    if (effect?.kind === "flip" && count > 0) {
      target[this.#host.random.below(count)]! ^= 1 << this.#host.random.below(8);
    }
    return count;
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    await Promise.resolve();
    return this.readSync(target, position);
  }

  async readVector(targets: readonly Uint8Array[], position: number): Promise<number> {
    await Promise.resolve();
    let done = 0;
    for (const target of targets) {
      const count = this.readSync(target, position + done);
      done += count;
      if (count < target.byteLength) break;
    }
    return done;
  }

  writeSync(source: Uint8Array, position: number): void {
    this.#content("write");
    if (!this.#writable) throw this.#notWritable("write");
    if (this.durability !== undefined) checkAligned(this.path, source, position);
    const durable = this.durability !== undefined;
    const effect = this.#host.fault("write", this.path);
    switch (effect?.kind) {
      case "EIO":
        this.#writeSome(source, position, durable);
        throw simulatedError(this.path, "write", "EIO");
      case "ENOSPC":
        this.#writePrefix(source, position, effect.shortBytes ?? 0, durable);
        throw simulatedError(this.path, "write", "ENOSPC");
      case "lost":
        return;
      case "misdirected":
        this.#host.write(this.#inode, source.slice(), Math.max(0, position + effect.byBytes), durable);
        return;
    }
    const growth = Math.max(0, position + source.byteLength - this.sizeBytes());
    const missing = Math.max(0, growth - this.#host.room());
    if (missing > 0) {
      this.#writePrefix(source, position, Math.max(0, source.byteLength - missing), durable);
      throw simulatedError(this.path, "write", "ENOSPC");
    }
    this.#host.write(this.#inode, source.slice(), position, durable);
  }

  async write(source: Uint8Array, position: number): Promise<void> {
    await Promise.resolve();
    this.writeSync(source, position);
  }

  syncSync(): void {
    this.#content("sync");
    const effect = this.#host.fault("sync", this.path);
    if (effect?.kind === "lost") return;
    if (effect !== undefined) {
      this.#host.sync(this.#inode, true);
      throw simulatedError(this.path, "sync", effect.kind === "ENOSPC" ? "ENOSPC" : "EIO");
    }
    this.#host.sync(this.#inode, false);
  }

  async sync(): Promise<void> {
    await Promise.resolve();
    this.syncSync();
  }

  /** What is put is what a write would be: in the page cache now, on the device sector by sector. */
  map(position: number, end: number): FileMap | undefined {
    if (!this.#host.maps) return undefined;
    const growth = end - this.#content("map").sizeBytes;
    if (this.#host.fault("map", this.path) !== undefined || growth > this.#host.room()) return undefined;
    if (growth > 0) this.#host.truncate(this.#inode, end);
    this.#map = { from: position, end };
    return {
      end,
      put: (source, sizeBytes, at) => this.#put(source, sizeBytes, at),
      close: () => {
        this.#map = undefined;
      },
    };
  }

  #put(source: DataView, sizeBytes: number, position: number): boolean {
    const map = this.#map;
    invariant(
      map !== undefined && position >= map.from && position + sizeBytes <= map.end,
      "bytes are put within a live map",
    );
    if (this.#host.fault("put", this.path) !== undefined) return false;
    const bytes = new Uint8Array(source.buffer, source.byteOffset, sizeBytes).slice();
    this.#host.write(this.#inode, bytes, position, false);
    return true;
  }

  truncate(sizeBytes: number): void {
    this.#content("truncate");
    if (!this.#writable) throw this.#notWritable("truncate");
    invariant(this.#map === undefined, "a mapped file is not truncated");
    this.#host.truncate(this.#inode, sizeBytes);
  }

  tryLock(mode: "shared" | "exclusive"): boolean {
    this.#content("lock");
    if (mode === "exclusive" && !this.#writable) throw this.#notWritable("lock");
    return this.#host.locksOf(this.#inode).take(this, mode);
  }

  async lock(mode: "shared" | "exclusive"): Promise<void> {
    while (!this.tryLock(mode)) await this.#host.locksOf(this.#inode).changed();
  }

  unlock(): void {
    this.#host.locksOf(this.#inode).release(this);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#host.locksOf(this.#inode).release(this);
  }

  #content(action: string): SectorFile {
    if (this.#open) return this.#host.content(this.#inode);
    throw new StoreError("ERR_IO", `${action} ${this.path}: EBADF: the file is closed`, {
      context: { path: this.path, action, errno: "EBADF" },
    });
  }

  #notWritable(action: string): StoreError {
    return new StoreError("ERR_IO", `${action} ${this.path}: EBADF: the file is open for reading only`, {
      context: { path: this.path, action, errno: "EBADF" },
    });
  }

  #writePrefix(source: Uint8Array, position: number, sizeBytes: number, durable: boolean): void {
    const whole = Math.min(sizeBytes, source.byteLength);
    if (whole > 0) this.#host.write(this.#inode, source.slice(0, whole), position, durable);
  }

  /** A write that failed: any of its sectors may have reached the device. */
  #writeSome(source: Uint8Array, position: number, durable: boolean): void {
    for (let at = 0; at < source.byteLength; at += SECTOR_BYTES) {
      if (this.#host.random.chance(0.5)) {
        this.#host.write(this.#inode, source.slice(at, at + SECTOR_BYTES), position + at, durable);
      }
    }
  }
}
