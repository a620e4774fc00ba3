import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, it } from "vitest";

/**
 * The dependency rule of docs/architecture.md: a room may import itself and the rooms named here, nothing else.
 * Rooms are listed from the ground up, so an arrow can only point down.
 */
const ground = ["src/errors", "src/limits", "src/assert"];
const rooms: Record<string, string[]> = {
  "src/errors": [],
  "src/limits": [],
  "src/assert": ["src/errors"],
  "src/built": [],
  "src/crc32c": [],
  "src/flipped-bit": ["src/crc32c"],
  "src/histogram": [],
  "src/names": ["src/errors", "src/limits"],
  "src/disk": ground,
  "src/kernels": [...ground, "src/built", "src/disk"],
  "src/codec": [...ground, "src/kernels"],
  "src/workers": [...ground, "src/built"],
  "src/wal": [
    ...ground,
    "src/crc32c",
    "src/histogram",
    "src/disk",
    "src/kernels",
    "src/codec",
    "src/workers",
    "src/built",
  ],
  "src/critical": [
    ...ground,
    "src/histogram",
    "src/flipped-bit",
    "src/wal",
    "src/disk",
    "src/kernels",
    "src/codec",
    "src/workers",
  ],
  "src/versions": [...ground, "src/flipped-bit", "src/disk"],
  "src/chunks": [
    ...ground,
    "src/crc32c",
    "src/flipped-bit",
    "src/disk",
    "src/kernels",
    "src/codec",
    "src/workers",
    "src/built",
    "src/pace/token-bucket",
  ],
  "src/features": [
    ...ground,
    "src/disk",
    "src/names",
    "src/series",
    "src/chunks",
    "src/versions",
    "src/codec",
  ],
  "src/state": [...ground, "src/names", "src/disk", "src/versions", "src/critical"],
  "src/capture": [...ground, "src/disk", "src/workers"],
  "src/images": [...ground, "src/disk", "src/kernels", "src/workers"],
  "src/pace/token-bucket": ground,
  "src/pace": [...ground, "src/disk", "src/histogram"],
  "src/series": [
    ...ground,
    "src/crc32c",
    "src/flipped-bit",
    "src/disk",
    "src/kernels",
    "src/codec",
    "src/workers",
  ],
  formats: [...ground, "src/built"],
  features: ["src", "formats"],
  checkpoints: ["src", "formats"],
  transfer: ["features", "src", "formats"],
  "open-critical": ["src"],
  backup: ["open-critical", "checkpoints", "src"],
  late: [],
  "open-store": ["late", "backup", "open-critical", "checkpoints", "features", "transfer", "src", "formats"],
  index: ["open-store", "backup", "open-critical", "checkpoints", "features", "transfer", "src", "formats"],
  server: ["open-store", "backup", "open-critical", "checkpoints", "src", "formats"],
  "cli/bench": ["index", "src"],
  cli: ["index", "open-critical", "server", "cli/bench", ...ground],
  examples: ["index"],
};

const root = join(import.meta.dirname, "..");

function sources(directory: string): string[] {
  return readdirSync(join(root, directory), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.includes("assembly/"))
    .map((name) => join(directory, name));
}

const files = ["src", "checkpoints", "features", "formats", "transfer", "backup", "server", "cli", "examples"]
  .flatMap(sources)
  .concat("index.ts", "late.ts", "open-store.ts", "open-critical.ts");

function roomOf(file: string): string {
  const path = file.replace(/\.ts$/, "");
  const names = Object.keys(rooms).filter((room) => path === room || path.startsWith(`${room}/`));
  return names.sort((a, b) => b.length - a.length)[0] ?? (path.startsWith("src/") ? "src/store" : path);
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), "utf8");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map((match) => match[1]!);
}

function importedFiles(file: string): string[] {
  return importsOf(file)
    .filter((name) => name.startsWith("."))
    .map((name) => relative(root, join(root, file, "..", name)));
}

/** A way along imports from a file back to itself, for every circle there is. */
function circles(imported: (file: string) => string[]): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const way: string[] = [];
  const follow = (file: string): void => {
    const at = way.indexOf(file);
    if (at >= 0) found.push([...way.slice(at), file].join(" -> "));
    if (at >= 0 || done.has(file)) return;
    way.push(file);
    imported(file).forEach(follow);
    way.pop();
    done.add(file);
  };
  files.forEach(follow);
  return found;
}

function allowed(room: string, target: string): boolean {
  if (room === target || room === "src/store") return true;
  return (rooms[room] ?? []).some((name) => target === name || target.startsWith(`${name}/`));
}

describe("the house", () => {
  it("has arrows that only point down", () => {
    const wrong = files.flatMap((file) =>
      importedFiles(file)
        .filter((target) => !allowed(roomOf(file), roomOf(target)))
        .map((target) => `${file} imports ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  it("has no circle of files, not even of their types", () => {
    // What needs a part of what is above it says which part, as an interface of its own.
    expect(circles(importedFiles)).toEqual([]);
    const withOne = (file: string) => [
      ...importedFiles(file),
      ...(file === "src/errors.ts" ? ["index.ts"] : []),
    ];
    expect(circles(withOne)).not.toEqual([]);
  });

  it("reaches the disk through the disk port alone", () => {
    const wrong = files.filter(
      (file) =>
        !file.startsWith("src/disk/") &&
        // Read their own compiled code, which is no part of a store.
        file !== "src/kernels/kernels.ts" &&
        file !== "src/kernels/recovery-kernel.ts" &&
        file !== "src/kernels/range-sum.ts" &&
        /^(src|checkpoints|features|formats)\//.test(file) &&
        importsOf(file).some((name) => /^(node:)?fs(\/promises)?$/.test(name)),
    );
    expect(wrong).toEqual([]);
  });

  it("knows no terminal outside cli/, examples/ and child processes", () => {
    const wrong = files.filter(
      (file) =>
        !file.startsWith("cli/") &&
        !file.startsWith("examples/") &&
        !file.endsWith(".child.ts") &&
        /\bconsole\.|process\.(stdout|stderr|argv|exit\b)/.test(readFileSync(join(root, file), "utf8")),
    );
    expect(wrong).toEqual([]);
  });

  it("keeps files small enough to say one thing", () => {
    const long = files.filter((file) => readFileSync(join(root, file), "utf8").split("\n").length > 450);
    expect(long).toEqual([]);
  });
});
