import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkStoreAt, openStore, repairStoreAt } from "../../open-store.ts";

/** What a slip of an administrator leaves where a file of the store was. */
const accidents = {
  "a directory": (path: string) => mkdirSync(join(path, "inner"), { recursive: true }),
  "a link to nowhere": (path: string) => symlinkSync("/nowhere/at/all", path),
  nothing: () => {},
};

const places = [
  "varve.json",
  "versions/log",
  "versions/mark",
  "state/m/log",
  "state/m/mark",
  "versions/lock",
  "chunks/gc.lock",
  "chunks/gc.gate",
];
/** What a store cannot miss without losing something. */
const lossy = ["versions/log", "state/m/log", "chunks/packs"];
const found = ["chunks/packs", "chunks/index", "images"];

const openHere = (path: string) =>
  openStore(path, { create: true, workers: 0, ioBudget: Number.POSITIVE_INFINITY });
const weights = (of: number) => ({
  w: { dtype: "F32" as const, shape: [70_000], data: new Float32Array(70_000).fill(of) },
});

describe("where a file of the store should be", () => {
  let directory: string;
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "varve-no-files-"));
    const store = await openHere(join(directory, "whole"));
    for (const step of [1, 2]) await store.checkpoints.save("m", weights(step)).durable;
    await (await store.checkpoints.pin("m")).imaged;
    store.state.map<number>("m").put("a", 1);
    await store.close();
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  for (const [what, cause] of Object.entries(accidents)) {
    for (const place of [...places, ...found]) {
      if (what === "nothing" && !lossy.includes(place)) continue;
      it(`${what} instead of ${place} is listed by check and mended by repair`, async () => {
        const store = join(directory, "hit");
        rmSync(store, { recursive: true, force: true });
        cpSync(join(directory, "whole"), store, { recursive: true });
        const file = found.includes(place) ? `${place}/${readdirSync(join(store, place))[0]}` : place;
        rmSync(join(store, file));
        cause(join(store, file));
        const { ok, problems } = await checkStoreAt(store);
        expect(ok, JSON.stringify(problems)).toBe(false);
        // Of a pack that is gone, only the versions that need it tell.
        if (what !== "nothing" || place !== "chunks/packs") {
          expect(problems.map(({ where }) => where).join()).toContain(
            place === "chunks/index" ? join(store, place) : join(store, file),
          );
        }
        const repaired = await repairStoreAt(store);
        expect(repaired.check.problems).toEqual([]);
        const after = await openHere(store);
        expect((await after.check({ readData: true })).problems).toEqual([]);
        await after.checkpoints.save("m", weights(3)).durable;
        const { w } = Object.fromEntries(await after.checkpoints.restore("m"));
        expect((w!.data as Float32Array)[7]).toBe(3);
        await after.close();
      });
    }
  }

  for (const log of ["versions/log", "state/m/log"]) {
    it(`the zeros behind the header and the records of ${log} are checked, and mended`, async () => {
      const store = join(directory, "padding");
      for (const at of [32, 511, 1023]) {
        rmSync(store, { recursive: true, force: true });
        cpSync(join(directory, "whole"), store, { recursive: true });
        const bytes = readFileSync(join(store, log));
        bytes[at]! ^= 1;
        writeFileSync(join(store, log), bytes);
        const { problems } = await checkStoreAt(store);
        expect(problems, `byte ${at}`).toMatchObject([{ what: expect.stringMatching(/zero/), versions: [] }]);
        expect(problems[0]!.where).toContain(join(store, log));
        // Nothing is lost with it, and nobody is kept from opening the store.
        await (await openHere(store)).close();
        expect((await repairStoreAt(store)).check.problems).toEqual([]);
        const after = await openHere(store);
        expect(after.checkpoints.log("m")).toHaveLength(2);
        expect(after.state.map("m").get("a")).toBe(1);
        await after.close();
      }
    });
  }
});
