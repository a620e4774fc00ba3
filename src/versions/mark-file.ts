import type { Disk, DiskFile } from "../disk/disk.ts";
import { isStoreError } from "../errors.ts";
import { MARK_BYTES, type Mark } from "./log-format.ts";
import { decodeMark } from "./log-reader.ts";
import { encodeMark } from "./log-writer.ts";

/** The file beside the version log that says how far it is durable. It is never synced: a power cut may set it back. */
export class MarkFile {
  readonly path: string;
  readonly #disk: Disk;
  readonly #storeId: Uint8Array;

  constructor(disk: Disk, directory: string, storeId: Uint8Array) {
    this.path = `${directory}/mark`;
    this.#disk = disk;
    this.#storeId = storeId;
  }

  /** `undefined` where there is none, or a damaged one. */
  read(): Mark | undefined {
    if (this.#disk.stat(this.path) === undefined) return undefined;
    const file = this.#disk.open(this.path, { access: "read" });
    try {
      const bytes = Buffer.alloc(MARK_BYTES);
      return decodeMark(bytes.subarray(0, file.readSync(bytes, 0)), this.#storeId);
    } finally {
      file.close();
    }
  }

  /** The record is durable whatever becomes of the mark: one that lags only delays what other processes see. */
  writeIfPossible(mark: Mark): void {
    let file: DiskFile | undefined;
    try {
      file = this.#disk.open(this.path, { access: "write", create: "may" });
      file.writeSync(encodeMark(mark, this.#storeId), 0);
    } catch (error) {
      if (!isStoreError(error, "ERR_IO") && !isStoreError(error, "ERR_DISK_FULL")) throw error;
    } finally {
      file?.close();
    }
  }
}
