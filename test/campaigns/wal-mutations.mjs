// Breaks one rule of the log at a time and shows that the test suite turns red each time.
//
//   node test/campaigns/wal-mutations.mjs [name…]
//
// Works on a copy of the sources. Exit code 1 when a mutant survives.
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const KERNEL = "src/kernels/assembly/recovery";

const MUTANTS = [
  {
    name: "the checksum is not compared",
    file: "src/wal/format.ts",
    from: "return computed === stored;",
    to: "return computed === stored || true;",
  },
  {
    name: "the checksum forgets the epoch",
    file: "src/wal/format.ts",
    from: "Math.imul(epoch, 0x9e3779b1) ^ ",
    to: "",
  },
  {
    name: "the checksum forgets the place",
    file: "src/wal/format.ts",
    from: " ^ Math.imul(sequence | 0, 0x85ebca77) ^ high",
    to: "",
  },
  {
    name: "the padding is not looked at",
    file: "src/wal/format.ts",
    from: "if (padding.compare(bytes, end, BLOCK_BYTES, 0, BLOCK_BYTES - end) !== 0)",
    to: "if (padding.byteLength === 0)",
  },
  {
    name: "open blocks are padded like data",
    file: "src/wal/format.ts",
    from: 'if (header.kind === "open") bytes.fill(0xff, end);',
    to: 'if (header.kind === "open") bytes.fill(0, end);',
    also: [
      [
        'const padding = header.kind === "open" ? ONES : ZEROS;',
        "const padding = ONES.byteLength > 0 ? ZEROS : ONES;",
      ],
    ],
  },
  {
    name: "a block of an older epoch still counts",
    file: "src/wal/chain.ts",
    from: "header.epoch < end.epoch || ",
    to: "",
    also: [["if (end.epoch !== 0 && header.epoch !== end.epoch) return false;", ""]],
  },
  {
    name: "the chain's hash is not compared",
    file: "src/wal/chain.ts",
    from: "if (end.hash !== undefined && !sameBytes(header.previousHash, end.hash)) return false;",
    to: "",
  },
  {
    name: "an opening keeps the epoch",
    file: "src/wal/open-log.ts",
    from: "epoch: recovery.topEpoch + 1,",
    to: "epoch: Math.max(1, recovery.topEpoch),",
  },
  {
    name: "rot is truncated like a torn tail",
    file: "src/wal/recovery.ts",
    from: "      throw this.#corrupt(bad, later.proof);",
    to: "",
  },
  {
    name: "a torn tail is called rot",
    file: "src/wal/chain.ts",
    from: "return block.header.writeStart > sequence || block.header.durableThrough >= sequence;",
    to: "return block.header.sequence > sequence;",
  },
  {
    name: "each block claims to be a write of its own",
    file: "src/wal/writer.ts",
    from: "header.sequence = chain.nextSequence;",
    to: "header.sequence = chain.nextSequence;\n      header.writeStart = chain.nextSequence;",
  },
  {
    name: "writes are not durable when they are acknowledged",
    file: "src/wal/segments.ts",
    from: '{ access: "write", durable: this.#durable }',
    to: '{ access: "write", ...(this.#durable === undefined ? { durable: true } : {}) }',
  },
  {
    name: "a new segment is used before its name is durable",
    file: "src/wal/segments.ts",
    from: "this.#ordinals = [...this.#ordinals, ordinal].sort((a, b) => a - b);",
    to: "this.#ordinals = [...this.#ordinals, ordinal].sort((a, b) => a - b);\n    this.#ready.add(ordinal);",
  },
  {
    name: "segments are reused before a durable block gives them up",
    file: "src/wal/segment-keeper.ts",
    from: "    return this.#chain.logStart > before;",
    to: "    this.written(this.#chain.logStart);\n    return this.#chain.logStart > before;",
  },
  {
    name: "a record is acknowledged though its write failed",
    file: "src/wal/log.ts",
    from: "else if (outcome.failed !== undefined) this.#poisonWith(outcome.failed, write.waiters);",
    to: "",
  },
  {
    name: "a write behind one that failed is made",
    file: "src/wal/carrier.ts",
    from: "const outcome = failed ?? writeToAll(",
    to: "const outcome = writeToAll(",
  },
  {
    name: "a write behind another is called durable with it",
    file: "src/wal/log.ts",
    from: "write.sequence + write.bytes.byteLength / BLOCK_BYTES - 1",
    to: "this.#chain.nextSequence - 1",
  },
  {
    name: "a lost mirror is not noted on the survivor",
    file: "src/wal/log.ts",
    from: "writeOpenBlock(this.#copies, this.#chain, FLAG_MIRROR_DROPPED);",
    to: "void [writeOpenBlock, FLAG_MIRROR_DROPPED];",
    also: [["      this.#chain.epoch++;\n", ""]],
  },
  {
    name: "an older mirror is as good as the log",
    file: "src/wal/recovery.ts",
    from: "fitting.filter((_, index) => this.#copies[index]!.topEpoch === top);",
    to: "fitting.filter((_, index) => index <= top);",
  },
  // The same rules once more in the kernel that follows the chain through blocks that need no judgement.
  {
    name: "the kernel passes over blocks that are not whole",
    file: `${KERNEL}/chain.ts`,
    from: "return computed == checksum;",
    to: "return true;",
  },
  {
    name: "the kernel does not compare the checksum",
    file: `${KERNEL}/chain.ts`,
    from: "if (load<u32>(checksums + place) != load<u32>(computed + place)) return i;",
    to: "",
  },
  {
    name: "the kernel does not look at the padding",
    file: `${KERNEL}/chain.ts`,
    from: "return isBlank(at + HEADER_BYTES + length, at + BLOCK_BYTES);",
    to: "return length <= PAYLOAD_BYTES;",
  },
  {
    name: "the kernel does not compare the chain's hash",
    file: `${KERNEL}/chain.ts`,
    from: "if (load<u32>(state, HASH_KNOWN) != 0) {",
    to: "if (load<u32>(state, HASH_KNOWN) > 1) {",
  },
  {
    name: "the kernel takes a block of another epoch",
    file: `${KERNEL}/chain.ts`,
    from: "if (own == 0 || (epoch != 0 && own != epoch)) return false;",
    to: "if (own == 0 || epoch == 0xffffffff) return false;",
  },
  {
    name: "the kernel takes a block out of its place",
    file: `${KERNEL}/chain.ts`,
    from: "if (sequence != load<u64>(state, NEXT_SEQUENCE)) return false;",
    to: "",
  },
  {
    name: "the kernel takes open blocks for data",
    file: `${KERNEL}/chain.ts`,
    from: "if (kind != KIND_DATA && kind != KIND_SEAL) return false;",
    to: "",
    also: [["return isBlank(at + HEADER_BYTES + length, at + BLOCK_BYTES);", "return true;"]],
  },
  {
    name: "the kernel keeps less of a block than it uses",
    file: `${KERNEL}/chain.ts`,
    from: "memory.copy(to, at, sizeBytes);",
    to: "memory.copy(to, at, sizeBytes - 16);",
  },
  {
    name: "what was read over stays behind what is kept",
    file: "src/wal/chain-memory.ts",
    from: "this.kernel.memory.fill(0, this.#keptEnd, this.#dirtyEnd);",
    to: "",
  },
];

const root = fileURLToPath(new URL("../..", import.meta.url));
const wanted = process.argv.slice(2);
const survivors = [];
for (const mutant of MUTANTS.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
  const [red, told] = tryMutant(mutant);
  console.log(`${red ? "caught  " : "SURVIVED"}  ${mutant.name}${told}`);
  if (!red) survivors.push(mutant.name);
}
process.exit(survivors.length === 0 ? 0 : 1);

function tryMutant({ file, from, to, also = [] }) {
  const copy = mkdtempSync(join(tmpdir(), "varve-mutant-"));
  try {
    for (const part of [
      "src",
      "test/wal",
      "test/disk",
      "package.json",
      "vitest.config.ts",
      "tsconfig.json",
    ]) {
      cpSync(join(root, part), join(copy, part), { recursive: true });
    }
    cpSync(join(root, "dist"), join(copy, "dist"), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
    let text = readFileSync(join(copy, file), "utf8");
    for (const [before, after] of [[from, to], ...also]) {
      if (text.split(before).length !== 2) throw new Error(`${file} does not hold once: ${before}`);
      text = text.replace(before, () => after);
    }
    writeFileSync(join(copy, file), text);
    if (file.startsWith(KERNEL)) buildKernel(copy);
    const suites = [
      "format",
      "behind",
      "chain",
      "plain-chain",
      "faults",
      "mirror",
      "segment-names",
      "crash",
    ].map((name) => `test/wal/${name}`);
    const run = spawnSync("node_modules/.bin/vitest", ["run", "--bail=1", ...suites], {
      cwd: copy,
      encoding: "utf8",
      env: { ...process.env, VARVE_STATES: "30000", NO_COLOR: "1" },
    });
    const failed = /FAIL\s+(.*)/.exec(run.stdout + run.stderr)?.[1];
    return [run.status !== 0 && failed !== undefined, failed === undefined ? "" : `\n            ${failed}`];
  } finally {
    rmSync(copy, { recursive: true });
  }
}

function buildKernel(copy) {
  cpSync(join(root, "scripts"), join(copy, "scripts"), { recursive: true });
  const run = spawnSync(process.execPath, ["scripts/build-kernels.mjs"], { cwd: copy, encoding: "utf8" });
  if (run.status !== 0) throw new Error(`the kernel does not compile:\n${run.stdout}${run.stderr}`);
}
