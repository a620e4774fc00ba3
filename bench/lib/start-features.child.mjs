// One start of a process that reads features: what each step took, and the bare parts of it, as a line of JSON.
//   node start-features.child.mjs STORE NAME columns|arrow
import { closeSync, openSync, readdirSync, read as readFile, statSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { promisify } from "node:util";

const read = promisify(readFile);
const [directory, name, form] = process.argv.slice(2);
const times = {};
async function timed(what, call) {
  const startMs = performance.now();
  const result = await call();
  times[what] = performance.now() - startMs;
  return result;
}

const { openStore } = await timed("import", () => import("../../dist/index.js"));
let sizeBytes = 0;
async function openAndLoad() {
  const store = await openStore(directory, { readOnly: true });
  const table = form === "arrow" ? await store.features.load(name) : await store.features.loadColumns(name);
  sizeBytes = store.features.list().find((each) => each.name === name).rawBytes;
  return { store, table };
}
await (await timed("first", openAndLoad)).store.close();
await (await timed("second", openAndLoad)).store.close();

// The floor: as many bytes by four threads into fresh memory, and hashed.
const packs = join(directory, "chunks/packs");
const [pack] = readdirSync(packs).sort(
  (a, b) => statSync(join(packs, b)).size - statSync(join(packs, a)).size,
);
const fd = openSync(join(packs, pack), "r");
const sliceBytes = 2 << 20;
const packBytes = statSync(join(packs, pack)).size;
await timed("floorRead", async () => {
  const bytes = new Uint8Array(sizeBytes);
  let next = 0;
  const lane = async () => {
    for (let at = next; at < sizeBytes; at = next) {
      next += sliceBytes;
      const length = Math.min(sliceBytes, sizeBytes - at);
      await read(fd, bytes, at, length, at % Math.max(1, packBytes - sliceBytes));
    }
  };
  await Promise.all([lane(), lane(), lane(), lane()]);
  times.bytes = bytes;
});
const { blake3 } = createRequire(import.meta.url)("@napi-rs/blake-hash");
await timed("floorHash", () => {
  for (let at = 0; at < sizeBytes; at += sliceBytes) blake3(times.bytes.subarray(at, at + sliceBytes));
});
await timed("floorFaults", () => {
  const fresh = new Uint8Array(sizeBytes);
  for (let at = 0; at < sizeBytes; at += 4096) fresh[at] = 1;
});
closeSync(fd);
times.bytes = sizeBytes;
process.stdout.write(JSON.stringify(times));
