import { randomBytes } from "node:crypto";
import type { Disk, DiskFile } from "../disk/disk.ts";

/** A scratch file for captured bytes; nothing in it is ever needed after its process has ended. */
export interface SpoolFile {
  path: string;
  file: DiskFile;
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
  #swept = false;

  constructor(disk: Disk, directory: string) {
    this.#disk = disk;
    this.#directory = directory;
  }

  acquire(): SpoolFile {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    this.#disk.makeDirectory(this.#directory);
    this.#sweep();
    const path = `${this.#directory}/${randomBytes(8).toString("hex")}${SUFFIX}`;
    const file = this.#disk.open(path, { access: "write", create: "must" });
    file.tryLock("exclusive");
    return { path, file };
  }

  release(spool: SpoolFile): void {
    if (this.#idle.length === 0) this.#idle.push(spool);
    else this.#remove(spool);
  }

  #remove({ path, file }: SpoolFile): void {
    this.#disk.remove(path);
    file.close();
  }

  /** Removes what killed processes left behind. */
  #sweep(): void {
    if (this.#swept) return;
    this.#swept = true;
    for (const name of this.#disk.list(this.#directory)) {
      if (!name.endsWith(SUFFIX)) continue;
      const path = `${this.#directory}/${name}`;
      try {
        const file = this.#disk.open(path, { access: "write" });
        if (file.tryLock("exclusive")) this.#disk.remove(path);
        file.close();
      } catch {
        // Another process removes it at this moment, or may not be disturbed: it is swept another time.
      }
    }
  }

  close(): void {
    for (const spool of this.#idle.splice(0)) this.#remove(spool);
  }
}
