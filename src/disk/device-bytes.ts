import * as fs from "node:fs";

/**
 * Bytes this process has caused to be sent to the storage layer since it started (`write_bytes` of /proc/self/io);
 * `undefined` where the system does not tell. What other processes do with the same files is not in it.
 */
export function deviceBytesOfProcess(): number | undefined {
  try {
    const found = /^write_bytes: (\d+)$/m.exec(fs.readFileSync("/proc/self/io", "utf8"));
    return found === null ? undefined : Number(found[1]);
  } catch {
    return undefined;
  }
}
