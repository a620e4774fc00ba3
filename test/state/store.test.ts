import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { checkStore, openStore, repairStore } from "../../index.ts";

const directory = mkdtempSync(join(tmpdir(), "varve-state-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

it("state is in a backup, its damage in a check, and a flipped bit is turned back by repair", async () => {
  const path = join(directory, "store");
  const copy = join(directory, "copy");
  {
    await using store = await openStore(path, { create: true, workers: 0 });
    const map = store.state.map<number>("strategy/one");
    for (let i = 0; i < 5; i++) {
      map.put("a", i);
      await map.flush();
    }
    expect((await store.backup(copy)).state.maps).toBe(1);
    map.put("a", 5);
    await map.flush();
    await store.backup(copy);
  }
  {
    await using store = await openStore(copy, { workers: 0 });
    expect(store.state.names()).toEqual(["strategy/one"]);
    expect(
      store.state
        .map<number>("strategy/one")
        .history("a")
        .map(({ value }) => value),
    ).toEqual([0, 1, 2, 3, 4, 5]);
  }
  const log = join(path, "state/strategy%2Fone/log");
  const bytes = readFileSync(log);
  bytes[1024 + 30]! ^= 8;
  writeFileSync(log, bytes);
  expect((await checkStore(path)).problems[0]?.what).toContain("strategy/one");
  const repaired = await repairStore(path);
  expect(repaired.check.ok).toBe(true);
  await using store = await openStore(path, { workers: 0 });
  expect(
    store.state
      .map<number>("strategy/one")
      .history("a")
      .map(({ value }) => value),
  ).toEqual([0, 1, 2, 3, 4, 5]);
});
