import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { digestOf } from "../../src/chunks/digest.ts";
import { encodeManifest } from "../../src/features/manifest-writer.ts";
import { encodeDump, packCached } from "../../src/state/cache-format.ts";

/** The worked examples of docs/formats/features.md and cache-dump.md, made by the code that writes such bytes. */
function exampleOf(page: string): string {
  const text = readFileSync(join(import.meta.dirname, "../../docs/formats", page), "utf8");
  const block = /<!-- example -->\s+```\n([\s\S]*?)```/.exec(text)?.[1] ?? "";
  return block
    .trimEnd()
    .split("\n")
    .map((line) => line.split(/ {2,}/)[1]!.replaceAll(" ", ""))
    .join("");
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

it("a manifest of a table of two rows and two columns is what docs/formats/features.md shows", () => {
  const tail = { columns: 2, pieces: [{ rawBytes: 36, digest: digestOf(Buffer.from("tail")) }] };
  const column = { textBytes: 0, hasNulls: false, chunks: [] };
  const bytes = encodeManifest({
    rows: 2,
    columns: [
      { name: "ts", type: "i64", unit: "us", ...column },
      { name: "x", type: "f64", ...column, hasNulls: true },
    ],
    tail: [tail],
  });
  expect(hex(bytes)).toBe(exampleOf("features.md"));
});

it("a dump of one entry is what docs/formats/cache-dump.md shows", () => {
  const storeId = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");
  expect(hex(encodeDump([["a", packCached(1), 0]], storeId))).toBe(exampleOf("cache-dump.md"));
});
