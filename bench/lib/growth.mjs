import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { openStore } from "../../dist/index.js";
import { treeBytes, withDirectory } from "./places.mjs";
import { exact, table } from "./tables.mjs";
import { agrees, appendedBytes } from "./varve.mjs";

const VERSIONS = 10;
const CHANGED = 0.01;

const below = (limit) => Math.floor(Math.random() * limit);

/** How a version becomes the next one; each changes one byte in a hundred. */
const CHANGES = {
  "single bytes, scattered": (bytes) => {
    for (let i = 0; i < bytes.length * CHANGED; i++) bytes[below(bytes.length)] ^= 1 + below(255);
    return bytes;
  },
  "one region": (bytes) => {
    const part = randomBytes(Math.round(bytes.length * CHANGED));
    part.copy(bytes, below(bytes.length - part.length));
    return bytes;
  },
  "an insertion": (bytes) => {
    const at = below(bytes.length);
    return Buffer.concat([
      bytes.subarray(0, at),
      randomBytes(Math.round(bytes.length * CHANGED)),
      bytes.subarray(at),
    ]);
  },
};

/** Random bytes in an opaque file, one in a hundred changed from version to version: growth against what saves say. */
export async function growth({ say, megabytes, profile }) {
  const rows = [];
  for (const [change, next] of Object.entries(CHANGES)) {
    say(`${megabytes} MB of random bytes, ${change}`);
    rows.push({
      change,
      ...(await withDirectory((directory) => measure(directory, next, megabytes, profile))),
    });
  }
  return { megabytes, versions: VERSIONS, profile, rows };
}

async function measure(directory, next, megabytes, profile) {
  const path = join(directory, "store");
  const store = await openStore(path, { create: true });
  try {
    const before = { appended: appendedBytes(path), whole: treeBytes(path) };
    let bytes = randomBytes(megabytes * 1_000_000);
    const saves = [];
    for (let version = 1; version <= VERSIONS; version++) {
      if (version > 1) bytes = next(bytes);
      const file = join(directory, "state.bin");
      writeFileSync(file, bytes);
      saves.push(await store.checkpoints.saveFiles("run", [file], { profile }));
    }
    const storedBytes = saves.reduce((sum, save) => sum + save.storedBytes, 0);
    const growthBytes = appendedBytes(path) - before.appended;
    return {
      rawBytes: saves.reduce((sum, save) => sum + save.logicalBytes, 0),
      storedBytes,
      growthBytes,
      changeBytes: Math.round((storedBytes - saves[0].storedBytes) / (VERSIONS - 1)),
      wholeBytes: treeBytes(path) - before.whole,
      indexBytes: saves.reduce((sum, save) => sum + save.indexBytes, 0),
      saveMs: saves.map((save) => save.durationMs),
      withinGrowth: agrees(growthBytes, storedBytes),
    };
  } finally {
    await store.close();
  }
}

export function showGrowth({ rows }) {
  const columns = [
    "1 % changed as",
    "raw",
    "stored",
    "packs and log grew",
    "off by",
    "per change",
    "raw/stored",
    "store with index grew",
  ];
  return table(
    columns,
    rows.map((row) => [
      row.change,
      exact(row.rawBytes),
      exact(row.storedBytes),
      exact(row.growthBytes),
      `${((100 * Math.abs(row.growthBytes - row.storedBytes)) / row.storedBytes).toFixed(3)} %${row.withinGrowth ? "" : " TOO MUCH"}`,
      exact(row.changeBytes),
      (row.rawBytes / row.storedBytes).toFixed(2),
      exact(row.wholeBytes),
    ]),
  );
}
