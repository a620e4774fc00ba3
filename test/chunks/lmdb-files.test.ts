import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openStore } from "../../open-store.ts";
import { temporaryDirectory } from "../checkpoints/processes.ts";

let directory: string;

beforeEach(() => {
  directory = temporaryDirectory();
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe("an index whose files are none", () => {
  const damages: [string, (path: string) => void][] = [
    ["a link to nowhere", (path) => symlinkSync(`${directory}/nowhere/x`, path)],
    ["a directory", (path) => mkdirSync(path)],
  ];
  for (const name of ["lock.mdb", "data.mdb"]) {
    for (const [what, damage] of damages) {
      it(`is refused and the process lives: ${name} is ${what}`, async () => {
        const path = `${directory}/store`;
        const store = await openStore(path, { create: true, workers: 0 });
        await store.checkpoints.save("m", {
          w: { dtype: "F32", shape: [1000], data: new Float32Array(1000).fill(1) },
        }).durable;
        await store.close();
        rmSync(`${path}/chunks/index/${name}`);
        damage(`${path}/chunks/index/${name}`);
        for (const readOnly of [true, false]) {
          // For reading alone, no index is as good: it is made of the packs, in memory.
          if (readOnly && name === "data.mdb" && what === "a link to nowhere") continue;
          const opened = await openStore(path, { workers: 0, readOnly });
          try {
            await expect(opened.checkpoints.restore("m")).rejects.toMatchObject({
              code: "ERR_STORE_CORRUPT",
              message: expect.stringContaining(name),
            });
          } finally {
            await opened.close();
          }
        }
      });
    }
  }
});
