import { crc32c } from "@node-rs/crc32";
import type { Disk, DiskFile } from "../disk/disk.ts";

/**
 * Recognizes a plain copy of the store's directory. The file `identity` holds the machine's id and its own device,
 * inode and birth time; after a copy, a restore to another place or a move to another machine these differ from
 * what the system says. A rename within a file system keeps them all, so it is not noticed and need not be.
 *
 * ```
 *   one line of JSON: {"version":1,"machineId":"…","device":"…","inode":"…","bornNs":"…"}
 *   one line: CRC-32C of the first as eight hex digits
 * ```
 *
 * What it cannot see: old content put back in place, and a rolled-back disk image. That is the witness's task.
 */
const IDENTITY_VERSION = 1;
const IDENTITY_BYTES_MAX = 4096;

interface Identity {
  version: number;
  machineId: string;
  device: string;
  inode: string;
  bornNs: string;
}

/**
 * What differs from what the file says, in words; `undefined` when nothing does.
 *
 * @param used Something was committed here: the file was durable before, so where it is missing or does not read,
 *   these are not all of the original's files.
 */
export function findCopy(
  disk: Disk,
  directory: string,
  machineId: string,
  used: boolean,
): string | undefined {
  const path = `${directory}/identity`;
  const known = readIdentity(disk, path);
  const stat = disk.stat(path);
  if (stat === undefined) return used ? "its identity file is missing" : undefined;
  if (known === undefined) return used ? "its identity file does not read" : undefined;
  const differences: string[] = [];
  if (known.machineId !== "" && machineId !== "" && known.machineId !== machineId) {
    differences.push("another machine");
  }
  if (known.device !== String(stat.device)) differences.push("another device");
  if (known.inode !== String(stat.inode)) differences.push("another inode");
  if (known.bornNs !== String(stat.bornNs)) differences.push("another birth time");
  return differences.length === 0 ? undefined : differences.join(", ");
}

/** What is wrong with the file, if it is there and does not read. */
export function identityProblem(disk: Disk, directory: string): string | undefined {
  const path = `${directory}/identity`;
  if (disk.stat(path) === undefined || readIdentity(disk, path) !== undefined) return undefined;
  return "its checksum fails";
}

/** Writes down where the store lies now, durably, unless that is what the file says already. */
export function settleIdentity(disk: Disk, directory: string, machineId: string): void {
  const path = `${directory}/identity`;
  if (findCopy(disk, directory, machineId, true) === undefined) return;
  const file = disk.open(path, { access: "write", create: "may" });
  try {
    const stat = disk.stat(path)!;
    const identity: Identity = {
      version: IDENTITY_VERSION,
      machineId,
      device: String(stat.device),
      inode: String(stat.inode),
      bornNs: String(stat.bornNs),
    };
    const line = JSON.stringify(identity);
    const bytes = Buffer.from(`${line}\n${checksum(line)}\n`);
    file.truncate(0);
    file.writeSync(bytes, 0);
    file.syncSync();
  } finally {
    file.close();
  }
  disk.syncDirectory(directory);
}

/** The machine's id as systemd and D-Bus keep it; empty where there is none. */
export function machineIdOf(disk: Disk): string {
  for (const path of ["/etc/machine-id", "/var/lib/dbus/machine-id"]) {
    if (disk.stat(path) === undefined) continue;
    const file = disk.open(path, { access: "read" });
    try {
      return readText(file).trim();
    } finally {
      file.close();
    }
  }
  return "";
}

function readIdentity(disk: Disk, path: string): Identity | undefined {
  if (disk.stat(path) === undefined) return undefined;
  const file = disk.open(path, { access: "read" });
  try {
    const [line = "", sum] = readText(file).split("\n");
    if (sum !== checksum(line)) return undefined;
    const identity = JSON.parse(line) as Identity;
    return identity.version === IDENTITY_VERSION ? identity : undefined;
  } finally {
    file.close();
  }
}

function readText(file: DiskFile): string {
  const bytes = Buffer.alloc(Math.min(IDENTITY_BYTES_MAX, file.sizeBytes() || IDENTITY_BYTES_MAX));
  return bytes.toString("utf8", 0, file.readSync(bytes, 0));
}

function checksum(line: string): string {
  return crc32c(line).toString(16).padStart(8, "0");
}
