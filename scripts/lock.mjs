// Makes package-lock.json the same on every machine; run it after every `npm install` that changes dependencies
// (of the benches too: `node scripts/lock.mjs bench/package-lock.json`).
//
// 1. Download addresses go: the lock names versions and hashes, each machine uses the registry it is set up for.
// 2. Native packages of other platforms that the registry at hand did not offer are named with their versions, so
//    that `npm ci` finds the lock complete; npm installs them only on their own platform.
import { readFileSync, writeFileSync } from "node:fs";

const path = process.argv[2] ?? new URL("../package-lock.json", import.meta.url);
const lock = JSON.parse(readFileSync(path, "utf8"));

for (const [place, entry] of Object.entries(lock.packages)) {
  delete entry.resolved;
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const native =
      /[-/](android|darwin|freebsd|linux|netbsd|openbsd|openharmony|sunos|win32)-([a-z0-9]+)/.exec(name);
    if (place === "" || native === null || lock.packages[`node_modules/${name}`] !== undefined) continue;
    const [, os, cpu] = native;
    const abi = cpu.replace("gnueabihf", "");
    lock.packages[`node_modules/${name}`] = {
      version: version.replace(/^[\^~]/, ""),
      cpu: [abi],
      ...(entry.dev ? { dev: true } : {}),
      optional: true,
      os: [os],
    };
  }
}
const sorted = Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1));
lock.packages = Object.fromEntries(sorted);
writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
