/**
 * Breaks one rule of the save path at a time and shows that the suite notices:
 *
 *     npm run build && node test/campaigns/save-mutations.mjs [WORD]
 *
 * With a WORD only the mutations whose name holds it. Works on a copy of the project; ends with 1 when one survives.
 */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Name, file, the text that is replaced, and what it becomes. */
const MUTATIONS = [
  ["packs are not synced", "src/chunks/pack-writer.ts", "await this.#final(() => this.#file.sync());", ""],
  [
    "a new pack's name is not synced",
    "src/chunks/chunk-save.ts",
    "if (isNew) this.#store.packs.disk.syncDirectory(this.#store.packs.directory);",
    "",
  ],
  [
    "the ref moves before the index knows the chunks",
    "checkpoints/save.ts",
    "const { indexBytes } = await save.commit();",
    "const indexBytes = 0; queueMicrotask(async () => { for (let i = 0; i < 400; i++) await 0; await save.commit(); });",
  ],
  [
    "payloads' checksums are not compared",
    "src/chunks/pack-reader.ts",
    'if (crc32c(payload, placeSeed(packId, offset)) !== header.payloadCrc) return "payload checksum";',
    "",
  ],
  [
    "frame headers' checksums are not compared",
    "src/chunks/pack-reader.ts",
    "if (crc32c(view.subarray(8, headerBytes), placeSeed(packId, offset)) !== view.readUInt32LE(4)) {",
    "if (offset < 0) {",
  ],
  [
    "digests are not compared",
    "src/chunks/chunk-reader.ts",
    "if (!sameDigest(digestOf(bytes), digest)) {",
    "if (bytes.length < 0) {",
  ],
  ["the log is not synced", "src/versions/version-store.ts", "await log.sync();", ""],
  [
    "records' checksums are not compared",
    "src/versions/log-reader.ts",
    "if (crc32c(view.subarray(at + 8, end), recordSeed(storeId, offset)) !== view.readUInt32LE(at + 4))",
    "if (at < 0)",
  ],
  [
    "what lies past the mark is not taken over",
    "src/versions/version-store.ts",
    "else (await store.lock(() => store.#healTail())).close();",
    "else store.refresh();",
  ],
  [
    "the mark is not written",
    "src/versions/version-store.ts",
    "file.writeSync(encodeMark(mark, storeId), 0);",
    "",
  ],
  ["a failed record is not cut off", "src/versions/version-store.ts", "        log.truncate(offset);\n", ""],
  [
    "saves share sectors",
    "src/chunks/pack-writer.ts",
    "if (padding > 0) this.#gather(new Uint8Array(padding));",
    "",
  ],
  [
    "records share sectors",
    "src/versions/log-format.ts",
    "return Math.ceil((RECORD_HEADER_BYTES + payloadBytes) / SECTOR_BYTES) * SECTOR_BYTES;",
    "return RECORD_HEADER_BYTES + payloadBytes + 0 * SECTOR_BYTES;",
  ],
  ["a rebuilt index trusts headers", "src/chunks/rebuild-index.ts", "storeId, { readData: true }", "storeId"],
  [
    "a later save takes a chunk's place",
    "src/chunks/memory-index.ts",
    "puts.filter(({ digest }) => !this.#entries.has(digestKey(digest)))",
    "puts",
  ],
  ["gc does not look again", "src/chunks/gc.ts", "await collection.markAgain();", ""],
  ["gc forgets bases", "src/chunks/gc.ts", "for (const base of this.#basesOf(digest)) visit(base);", ""],
  [
    "gc does not sync its copies",
    "src/chunks/gc.ts",
    "for (const writer of this.#writers) await writer.sync();",
    "for (const writer of this.#writers) await writer.flush();",
  ],
  [
    "the store's own name is not synced",
    "src/create-store.ts",
    "for (const made of missing.length > 0 ? missing.reverse() : [directory]) disk.syncDirectory(dirname(made));",
    "",
  ],
  [
    "a new pack outlives its failed save",
    "src/chunks/chunk-save.ts",
    "if (isNew) return this.#store.packs.discard(writer);",
    "",
  ],
  [
    "a pack without header is adopted",
    "src/chunks/pack-directory.ts",
    "range.offset > 0 && range.offset",
    "range.offset",
  ],
  [
    "chains grow without end",
    "src/chunks/restore-cost.ts",
    "return depth < CHAIN_DEPTH_MAX &&",
    "return depth < 2 * CHAIN_DEPTH_MAX ||",
  ],
];

const TESTS = ["test/versions", "test/chunks", "test/checkpoints/save-crash.test.ts"];

const copy = fs.mkdtempSync(join(tmpdir(), "varve-mutations-"));
for (const name of fs.readdirSync(root)) {
  if ([".git", "node_modules"].includes(name)) continue;
  fs.cpSync(join(root, name), join(copy, name), { recursive: true });
}
fs.symlinkSync(fs.realpathSync(join(root, "node_modules")), join(copy, "node_modules"));

function run() {
  const vitest = join(copy, "node_modules/.bin/vitest");
  const ran = spawnSync(vitest, ["run", "--bail", "1", ...TESTS], { cwd: copy, encoding: "utf8" });
  const failed = /FAIL\S*\s+(.*)/.exec((ran.stderr + ran.stdout).replaceAll(/\u001b\[[0-9;]*m/g, ""))?.[1];
  return { red: ran.status !== 0, failed };
}

let survivors = 0;
try {
  const word = process.argv[2] ?? "";
  if (word === "" && run().red) throw new Error("the suite is red before anything is broken");
  for (const [name, file, from, to] of MUTATIONS.filter(([name]) => name.includes(word))) {
    const path = join(copy, file);
    const text = fs.readFileSync(path, "utf8");
    if (!text.includes(from)) throw new Error(`${file} does not hold ${from}`);
    fs.writeFileSync(path, text.replace(from, to));
    const { red, failed } = run();
    fs.writeFileSync(path, text);
    if (!red) survivors += 1;
    console.log(`${red ? "noticed " : "SURVIVED"}  ${name}${red ? ` — ${failed ?? "does not run"}` : ""}`);
  }
} finally {
  fs.rmSync(copy, { recursive: true, force: true });
}
console.log(survivors === 0 ? "every broken rule is noticed" : `${survivors} broken rules are not noticed`);
process.exitCode = survivors === 0 ? 0 : 1;
