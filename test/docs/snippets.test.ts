import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, it, vi } from "vitest";

const root = join(import.meta.dirname, "../..");
const directory = mkdtempSync(join(tmpdir(), "varve-snippets-"));
afterAll(() => rmSync(directory, { recursive: true }));

/** The programs of the README as they stand there, on a store of their own. */
const snippets = [...readFileSync(join(root, "README.md"), "utf8").matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(
  (match) => match[1]!,
);

describe("the README's programs", () => {
  it("are found", () => expect(snippets.length).toBeGreaterThanOrEqual(3));

  it.each(snippets.map((code, at) => ({ at, code })))(
    "program $at runs and prints what it found",
    async ({ at, code }) => {
      const path = join(directory, `snippet-${at}.ts`);
      const index = JSON.stringify(join(root, "index.ts"));
      const here = code
        .replace('"varve"', index)
        .replace('"./state"', JSON.stringify(join(directory, `state-${at}`)));
      expect(here).toContain(index);
      writeFileSync(path, here);
      const printed = vi.spyOn(console, "log").mockImplementation(() => {});
      await import(pathToFileURL(path).href);
      expect(printed).toHaveBeenCalled();
      printed.mockRestore();
    },
  );
});
