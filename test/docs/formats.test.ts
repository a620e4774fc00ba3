import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { DTYPES } from "../../formats/tensor.ts";
import { columnsExample } from "./columns-example.ts";
import { logExample, packExample, versionExample } from "./format-examples.ts";
import { seriesExample } from "./series-example.ts";

const pages = join(import.meta.dirname, "../../docs/formats");

/** The code block after `<!-- example: NAME -->`. */
function blockOf(page: string, name: string): string {
  const text = readFileSync(join(pages, page), "utf8");
  const block = new RegExp(`<!-- example: ${name} -->\\s+\`\`\`\\w*\\n([\\s\\S]*?)\`\`\``).exec(text)?.[1];
  if (block === undefined) throw new Error(`${page} has no example ${name}`);
  return block;
}

/** The bytes of a dump: lines of an offset, bytes (or `00 × n`), and a note two spaces behind them. */
function bytesOf(dump: string): Buffer {
  let bytes = Buffer.alloc(0);
  for (const line of dump.trimEnd().split("\n")) {
    const [offset, hex] = line.split(/ {2,}/);
    expect(Number.parseInt(offset!, 16), `the offset of the line "${line}"`).toBe(bytes.byteLength);
    const zeros = /^00 × (\d+)$/.exec(hex!);
    const next =
      zeros === null ? Buffer.from(hex!.replaceAll(" ", ""), "hex") : Buffer.alloc(Number(zeros[1]));
    bytes = Buffer.concat([bytes, next]);
  }
  return bytes;
}

/** Sixteen bytes a line: what a failure shows of the difference. */
function dumpOf(bytes: Uint8Array): string[] {
  const rows = Math.ceil(bytes.byteLength / 16);
  return Array.from({ length: rows }, (_, row) =>
    Buffer.from(bytes.subarray(row * 16, row * 16 + 16))
      .toString("hex")
      .replace(/../g, "$& "),
  );
}

function holds(page: string, made: Record<string, Uint8Array>): void {
  for (const [name, bytes] of Object.entries(made)) {
    expect(dumpOf(bytesOf(blockOf(page, name))), `example ${name} of ${page}`).toEqual(dumpOf(bytes));
  }
}

describe("the worked examples of docs/formats are what the code writes", () => {
  it("a pack of two frames, one against the other, and its seal", async () => {
    const { pack } = await packExample();
    holds("pack.md", { pack: pack! });
  });

  it("the index entries of a chunk and of a pack", async () => {
    const { pack: _, ...index } = await packExample();
    holds("chunk-index.md", index);
  });

  it("a version log of a version and a tag, and its mark", async () => {
    holds("version-log.md", await logExample());
  });

  it("a manifest of a tensor file and an opaque file, and varve.json", async () => {
    const { "varve-json": storeFile, ...nodes } = await versionExample();
    holds("manifest.md", nodes);
    expect(blockOf("store-directory.md", "varve-json")).toBe(Buffer.from(storeFile!).toString("utf8"));
  });

  it("a sealed segment, a hot file and series.json", async () => {
    const { "series-json": definition, ...files } = await seriesExample();
    holds("series.md", files);
    expect(blockOf("series.md", "series-json")).toBe(Buffer.from(definition!).toString("utf8"));
  });

  it("columns of decimals, of two values, and packed", async () => {
    holds("columns.md", await columnsExample());
  });

  it("the dtypes of a layout node, in the order of their codes", () => {
    const page = readFileSync(join(pages, "manifest.md"), "utf8").replaceAll(/\s+/g, " ");
    expect(page).toContain(`Dtypes, in order: ${DTYPES.join(" ")}.`);
  });
});
