import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");
const pages = readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".md"))
  .map((name) => join("docs", name))
  .concat("README.md", "CHANGELOG.md", "bench/README.md");

/** A page without what stands in code, where brackets are no links. */
function proseOf(page: string): string {
  const text = readFileSync(join(root, page), "utf8");
  return text.replaceAll(/^```[\s\S]*?^```/gm, "").replaceAll(/`[^`\n]*`/g, "code");
}

/** What a page's headings can be linked by, as GitHub makes it of them. */
function anchorsOf(page: string): string[] {
  const headings = readFileSync(join(root, page), "utf8").replaceAll(/^```[\s\S]*?^```/gm, "");
  return [...headings.matchAll(/^#+ (.*)$/gm)].map((match) =>
    match[1]!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

function brokenLinks(page: string, text: string): string[] {
  const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1]!);
  return links
    .filter((link) => !/^[a-z]+:/.test(link))
    .filter((link) => {
      const [path, anchor] = link.split("#") as [string, string?];
      const target = path === "" ? page : join(dirname(page), path);
      if (!existsSync(join(root, target))) return true;
      return anchor !== undefined && !anchorsOf(target).includes(anchor);
    })
    .map((link) => `${page}: ${link}`);
}

describe("the pages", () => {
  it("link to files and headings that are there", () => {
    expect(pages.flatMap((page) => brokenLinks(page, proseOf(page)))).toEqual([]);
    const wrong = "[a](docs/none.md) [b](docs/cli.md#none) [c](https://example.org)";
    expect(brokenLinks("README.md", wrong)).toEqual([
      "README.md: docs/none.md",
      "README.md: docs/cli.md#none",
    ]);
  });

  it("name files of the repository that are there", () => {
    const missing = pages
      // What has changed was true when it was written.
      .filter((page) => page !== "CHANGELOG.md")
      .flatMap((page) => {
        const text = readFileSync(join(root, page), "utf8");
        const named = text.matchAll(
          /`((?:src|checkpoints|features|formats|transfer|backup|server|cli|test|bench|scripts|examples|clients)\/[\w./-]+\.\w+)`/g,
        );
        return [...named]
          .filter((match) => !existsSync(join(root, match[1]!)))
          .map((match) => `${page}: ${match[1]}`);
      });
    expect(missing).toEqual([]);
  });

  it("give each word of the glossary one meaning", () => {
    const rows = readFileSync(join(root, "docs/glossary.md"), "utf8").matchAll(/^\|.*/gm);
    const words = [...rows].flatMap(([row]) => [...row.matchAll(/\*\*(.*?)\*\*/g)].map((match) => match[1]!));
    expect(words.length).toBeGreaterThan(50);
    expect(words.filter((word, at) => words.indexOf(word) !== at)).toEqual([]);
  });
});
