import { randomBytes } from "node:crypto";
import { crc32c } from "@node-rs/crc32";
import type { Disk } from "./disk/disk.ts";
import { replaceFile } from "./disk/replace-file.ts";
import { StoreError } from "./errors.ts";
import { flipUntil } from "./flipped-bit.ts";

/**
 * `varve.json`, the file that makes a directory a store: its format version, its id, when it was created, and a
 * CRC-32C (hexadecimal) over those three. The id is repeated in every other file, so this one can be rebuilt. Later
 * formats keep these four fields and may add others, so that every varve can tell a newer format from a damaged file.
 */
export interface StoreFile {
  format: number;
  /** 16 random bytes. */
  storeId: Uint8Array;
  createdUs: bigint;
}

export const STORE_FORMAT_VERSION = 1;
export const STORE_FILE = "varve.json";

/** A store file is four short fields: anything longer is none. */
const STORE_FILE_BYTES_MAX = 4096;

export function newStoreFile(createdUs: bigint): StoreFile {
  return { format: STORE_FORMAT_VERSION, storeId: randomBytes(16), createdUs };
}

function checksum({ format, storeId, createdUs }: StoreFile): string {
  const text = `${format} ${Buffer.from(storeId).toString("hex")} ${createdUs}`;
  return crc32c(text).toString(16).padStart(8, "0");
}

/** Writes the file beside its place and renames it there: it is whole or absent. Durable when it returns. */
export function writeStoreFile(disk: Disk, directory: string, file: StoreFile): void {
  const { format, storeId, createdUs } = file;
  const fields = { format, storeId: Buffer.from(storeId).toString("hex"), createdUs: String(createdUs) };
  const text = `${JSON.stringify({ ...fields, checksum: checksum(file) }, null, 2)}\n`;
  replaceFile(disk, `${directory}/${STORE_FILE}`, Buffer.from(text));
}

/**
 * The store's file, or `undefined` when the directory is no store.
 * @throws `ERR_STORE_VERSION` for a newer format, `ERR_STORE_CORRUPT` for a damaged file.
 */
export function readStoreFile(disk: Disk, directory: string): StoreFile | undefined {
  const path = `${directory}/${STORE_FILE}`;
  const bytes = readBytes(disk, path);
  return bytes === undefined ? undefined : decodeStoreFile(bytes, directory, path);
}

/** What a damaged file said before one bit of it was flipped, or `undefined` when no single bit explains it. */
export function healStoreFile(disk: Disk, directory: string): StoreFile | undefined {
  const path = `${directory}/${STORE_FILE}`;
  const stat = disk.stat(path);
  if (stat === undefined || stat.sizeBytes > STORE_FILE_BYTES_MAX) return undefined;
  const bytes = readBytes(disk, path)!;
  let healed: StoreFile | undefined;
  flipUntil(bytes, bytes.byteLength, () => {
    try {
      healed = decodeStoreFile(bytes, directory, path);
      return true;
    } catch {
      return false;
    }
  });
  return healed;
}

function readBytes(disk: Disk, path: string): Buffer | undefined {
  const stat = disk.stat(path);
  if (stat === undefined) return undefined;
  if (stat.sizeBytes > STORE_FILE_BYTES_MAX) throw damaged(path, `it has ${stat.sizeBytes} bytes`);
  const handle = disk.open(path, { access: "read" });
  const bytes = Buffer.alloc(stat.sizeBytes);
  try {
    handle.readSync(bytes, 0);
  } finally {
    handle.close();
  }
  return bytes;
}

function decodeStoreFile(bytes: Buffer, directory: string, path: string): StoreFile {
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(bytes.toString("utf8")) as Record<string, unknown>;
  } catch {
    throw damaged(path, "it is not JSON");
  }
  const { format, storeId, createdUs } = fields ?? {};
  if (typeof storeId !== "string" || !/^[0-9a-f]{32}$/.test(storeId))
    throw damaged(path, "its store id is malformed");
  if (typeof createdUs !== "string" || !/^\d{1,19}$/.test(createdUs))
    throw damaged(path, "its creation time is malformed");
  const file = {
    format: format as number,
    storeId: Buffer.from(storeId, "hex"),
    createdUs: BigInt(createdUs),
  };
  if (fields["checksum"] !== checksum(file)) throw damaged(path, "its checksum is wrong");
  // Only now: a flipped bit must not pass for a newer format.
  if (file.format !== STORE_FORMAT_VERSION) throw newerFormat(directory, file.format);
  return file;
}

function newerFormat(directory: string, format: number): StoreError {
  const message = `${directory} has store format ${format}; this varve knows ${STORE_FORMAT_VERSION}`;
  return new StoreError("ERR_STORE_VERSION", message, {
    context: { directory, format, known: STORE_FORMAT_VERSION },
    hint: "Open the store with the varve that wrote it, or a newer one.",
  });
}

function damaged(path: string, what: string): StoreError {
  return new StoreError("ERR_STORE_CORRUPT", `${path} is damaged: ${what}`, {
    context: { path },
    hint: "Run `varve repair`: the store's id is repeated in its other files, so this one can be rebuilt.",
  });
}
