import { randomBytes } from "node:crypto";
import type { Disk, DiskFile } from "../disk/disk.ts";
import { isStoreError, StoreError } from "../errors.ts";
import { PACK_BYTES_TARGET } from "../limits.ts";
import type { ChunkIndex } from "./chunk-index.ts";
import { packFileName, packIdOfFileName } from "./pack-format.ts";
import { type PackScan, scanPack } from "./pack-scan.ts";
import { PackWriter } from "./pack-writer.ts";

export interface OpenPack {
  writer: PackWriter;
  /** Good frames that lay past the indexed end of an adopted pack: the index should learn of them. */
  found: PackScan | undefined;
}

/**
 * The pack files of a store, and which of them this process may append to.
 *
 * A process holds the pack it writes locked and keeps it over many saves; closed before it is full, it stays
 * unsealed, and the next saver, whichever process it is, adopts it.
 */
export class PackDirectory {
  readonly disk: Disk;
  readonly directory: string;
  readonly storeId: Uint8Array;
  readonly #nowUs: () => bigint;
  /** Packs free for the next save of this process; each is locked. */
  readonly #idle: PackWriter[] = [];

  constructor(disk: Disk, directory: string, storeId: Uint8Array, nowUs: () => bigint) {
    this.disk = disk;
    this.directory = directory;
    this.storeId = storeId;
    this.#nowUs = nowUs;
  }

  packIds(): bigint[] {
    return this.disk.list(this.directory).flatMap((name) => packIdOfFileName(name) ?? []);
  }

  path(packId: bigint): string {
    return `${this.directory}/${packFileName(packId)}`;
  }

  sizeBytes(packId: bigint): number {
    return this.disk.stat(this.path(packId))?.sizeBytes ?? 0;
  }

  /** A pack to append to: one this process holds, one nobody holds any more, or a new one. */
  acquire(index: ChunkIndex): OpenPack {
    const idle = this.#idle.pop();
    if (idle !== undefined) return { writer: idle, found: undefined };
    return this.#adopt(index) ?? { writer: this.create(), found: undefined };
  }

  create(): PackWriter {
    for (;;) {
      const packId = randomBytes(8).readBigUInt64LE();
      const writer = PackWriter.create(this.disk, this.directory, this.storeId, packId, this.#nowUs());
      if (writer !== undefined) return writer;
    }
  }

  /** Gives a pack back after a save: kept for the next one, or sealed when it is full. */
  async release(writer: PackWriter): Promise<void> {
    if (writer.failed) writer.close();
    else if (writer.sizeBytes >= PACK_BYTES_TARGET) await this.#seal(writer);
    else this.#idle.push(writer);
  }

  /** A pack without its seal is as good: that one cannot be written is no failure of the save that filled it. */
  async #seal(writer: PackWriter): Promise<void> {
    const { sizeBytes, frameCount } = writer;
    try {
      await writer.seal();
    } catch (error) {
      if (!isStoreError(error)) throw error;
      await writer.cutBack(sizeBytes, frameCount);
    } finally {
      writer.close();
    }
  }

  /** Gives up a new pack in which nothing became durable: not even its header is sure to be there. */
  discard(writer: PackWriter): void {
    writer.close();
    this.disk.remove(this.path(writer.packId));
  }

  #adopt(index: ChunkIndex): OpenPack | undefined {
    for (const packId of this.packIds()) {
      // A pack the index does not know was never part of a finished save: gc sweeps it.
      const end = index.packEnd(packId);
      if (end === undefined || end.goodBytes >= PACK_BYTES_TARGET) continue;
      const file = this.#lock(packId);
      if (file === undefined) continue;
      const scan = scanPack(this.disk, this.directory, packId, this.storeId, {
        fromOffset: end.goodBytes,
        readData: true,
      });
      // Anything but a torn tail is damage: left as it is for `check` and `repair`.
      const torn = scan.damage.every((range) => range.offset > 0 && range.offset === scan.goodBytes);
      if (scan.sealed || !torn || scan.sizeBytes < end.goodBytes) {
        file.close();
        continue;
      }
      const frameCount = end.frameCount + scan.frames.length;
      return {
        writer: PackWriter.adopt(file, packId, scan.goodBytes, frameCount),
        found: scan.frames.length > 0 ? scan : undefined,
      };
    }
    return undefined;
  }

  /** The pack's file, locked, or `undefined` when another process writes it or it is gone. */
  #lock(packId: bigint): DiskFile | undefined {
    // What is no file is left to `check` and `repair`.
    if (this.disk.stat(this.path(packId))?.isFile !== true) return undefined;
    let file: DiskFile;
    try {
      file = this.disk.open(this.path(packId), { access: "write" });
    } catch (error) {
      if (isStoreError(error, "ERR_NOT_FOUND")) return undefined;
      throw error;
    }
    if (file.tryLock("exclusive")) return file;
    file.close();
    return undefined;
  }

  /** Locks a pack that nobody writes, so that nobody will; `undefined` when another process does. */
  hold(packId: bigint): DiskFile | undefined {
    return this.#lock(packId);
  }

  /** Whether a process, this one included, is writing the pack. */
  isHeld(packId: bigint): boolean {
    const file = this.#lock(packId);
    file?.close();
    return file === undefined;
  }

  damaged(packId: bigint, what: string): StoreError {
    return new StoreError("ERR_STORE_CORRUPT", `${this.path(packId)}: ${what}`, {
      context: { path: this.path(packId) },
      hint: "Run `varve check --read-data`, then `varve repair`.",
    });
  }

  /** Lets go of the packs this process holds, unsealed: the next saver adopts them. */
  async close(): Promise<void> {
    for (const writer of this.#idle.splice(0)) writer.close();
  }
}
