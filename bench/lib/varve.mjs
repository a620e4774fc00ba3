import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { openStore } from "../../dist/index.js";
import { filesIn, projectDirectory, treeBytes } from "./places.mjs";

const cli = join(projectDirectory, "dist/cli/main.js");
export const hasCli = existsSync(cli);

/** What saves append to: the packs and the version log. The rebuildable index is counted apart. */
export function appendedBytes(store) {
  return treeBytes(join(store, "chunks/packs")) + treeBytes(join(store, "versions/log"));
}

const indexBytes = (store) => treeBytes(join(store, "chunks/index/data.mdb"));

/** Saves versions in order under one ref, restores each and compares every byte. */
export async function saveByApi(versions, directory, options = {}) {
  const path = join(directory, "store-api");
  const store = await openStore(path, { create: true });
  try {
    const before = appendedBytes(path);
    const saves = [];
    for (const version of versions) saves.push(await store.checkpoints.saveFiles("run", [version], options));
    const growthBytes = appendedBytes(path) - before;
    for (const [i, version] of versions.entries()) {
      const out = `${join(directory, "restored")}/`;
      await store.checkpoints.restoreFiles(`run@${i + 1}`, { out });
      compare(version, out);
    }
    const storedByVersion = saves.map((save) => save.storedBytes);
    const newChunks = saves.reduce((sum, save) => sum + save.newChunks, 0);
    const sums = { storedBytes: sum(storedByVersion), growthBytes, indexBytes: indexBytes(path), newChunks };
    return { ...sums, logicalBytes: sum(saves.map((save) => save.logicalBytes)), storedByVersion };
  } finally {
    await store.close();
  }
}

/** The same through the command line, a process for each command. */
export function saveByCli(versions, directory) {
  const path = join(directory, "store-cli");
  const varve = (...args) =>
    JSON.parse(
      execFileSync(process.execPath, [cli, "--store", path, "--json", ...args], { encoding: "utf8" }),
    );
  varve("init");
  const before = appendedBytes(path);
  const stored = versions.map((version) => varve("save", "run", version).storedBytes);
  const growthBytes = appendedBytes(path) - before;
  for (const [i, version] of versions.entries()) {
    const out = join(directory, "restored");
    mkdirSync(out);
    varve("restore", `run@${i + 1}`, "--out", out);
    compare(version, out);
  }
  return { storedBytes: sum(stored), growthBytes };
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

function compare(version, out) {
  const saved = filesIn(version);
  const restored = filesIn(out.replace(/\/$/, ""));
  if (saved.map(([, name]) => name).join() !== restored.map(([, name]) => name).join()) {
    throw new Error(`${version}: restored files are not the saved ones`);
  }
  for (const [i, [path]] of saved.entries()) {
    if (Buffer.compare(readFileSync(path), readFileSync(restored[i][0])) !== 0) {
      throw new Error(`${path}: restored bytes are not the saved ones`);
    }
  }
  rmSync(out, { recursive: true });
}

/** Whether growth on disk is what the saves reported, within 2 % and 64 KB. */
export function agrees(growthBytes, storedBytes) {
  return (
    Math.abs(growthBytes - storedBytes) <= storedBytes * 0.02 && Math.abs(growthBytes - storedBytes) <= 65_536
  );
}
