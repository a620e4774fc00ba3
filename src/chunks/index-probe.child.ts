/** The process that may die: prints every entry of the index it is named. See index-probe.ts. */
import { realDisk } from "../disk/real-disk.ts";
import { LmdbIndex } from "./lmdb-index.ts";

const FLUSH_BYTES = 1 << 16;

const index = LmdbIndex.open(realDisk, process.argv[2]!, { readOnly: true });
let rows: Uint8Array[] = [];
let bytes = 0;

async function flush(): Promise<void> {
  const piece = Buffer.concat(rows);
  rows = [];
  bytes = 0;
  await new Promise((resolve) => process.stdout.write(piece, resolve));
}

for (const { key, value } of index.raw()) {
  const found = index.rawGet(key);
  const same = found !== undefined && Buffer.compare(found, value) === 0;
  // Sizes over 255 are no key or value of ours: cut, they read as damage.
  const row = [Math.min(key.byteLength, 255), Math.min(value.byteLength, 255), same ? 1 : 0] as const;
  rows.push(Buffer.from(row), key.subarray(0, row[0]), value.subarray(0, row[1]));
  bytes += 3 + row[0] + row[1];
  if (bytes > FLUSH_BYTES) await flush();
}
rows.push(Buffer.from([0, 0, 0]));
await flush();
process.exitCode = 0;
