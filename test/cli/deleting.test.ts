import { describe, expect, it } from "vitest";
import { setStage } from "./stage.ts";

const plan = { ref: "r", kept: [9, 10], pruned: [1, 2, 3, 5] };
const prune = { answers: { prune: () => plan } };

describe("varve prune", () => {
  it("composes its rules", async () => {
    const stage = setStage(prune);
    const rules = ["--keep-last", "3", "--keep-every", "100", "--keep-best", "acc:max", "--keep-tags"];
    const { exitCode, out } = await stage.run("prune", "r", ...rules, "--yes");
    const options = { keepLast: 3, keepEvery: 100, keepBest: { metric: "acc", mode: "max" }, keepTags: true };
    expect(stage.calls).toEqual([
      ["prune", "r", { ...options, dryRun: true }],
      ["prune", "r", options],
    ]);
    expect({ exitCode, out }).toEqual({
      exitCode: 0,
      out: "pruned 4 versions of r, kept 2 versions; varve gc frees the bytes\n",
    });
  });

  it("only plans with --dry-run, on a store opened for reading", async () => {
    const stage = setStage(prune);
    const { out } = await stage.run("prune", "r", "--keep-last", "2", "--dry-run");
    expect(stage.calls).toEqual([["prune", "r", { keepLast: 2, dryRun: true }]]);
    expect(stage.opened[0]?.options.readOnly).toBe(true);
    expect(out).toBe("r: prune 4 versions: 1–3, 5\nr: keep 2 versions: 9–10\n");
    const json = await setStage(prune).run("prune", "r", "--keep-last", "2", "--dry-run", "--json");
    expect(JSON.parse(json.out)).toEqual({ ...plan, dryRun: true });
  });

  it("shows its plan and prunes when the answer is yes", async () => {
    for (const reply of ["y", "YES", " yes "]) {
      const stage = setStage({ ...prune, reply });
      const { exitCode, err } = await stage.run("prune", "r", "--keep-last", "2");
      expect(exitCode).toBe(0);
      expect(err).toBe("r: prune 4 versions: 1–3, 5\nr: keep 2 versions: 9–10\nPrune them? [y/N] ");
      expect(stage.calls.length).toBe(2);
    }
  });

  it("changes nothing when the answer is anything else", async () => {
    for (const reply of ["", "n", "yess", "no"]) {
      const stage = setStage({ ...prune, reply });
      const { exitCode, out, err } = await stage.run("prune", "r", "--keep-last", "2", "--json");
      expect({ exitCode, out }).toEqual({ exitCode: 1, out: "" });
      expect(err).toContain("nothing was changed\n");
      expect(stage.calls).toEqual([["prune", "r", { keepLast: 2, dryRun: true }]]);
    }
  });

  it("asks for --yes where there is no terminal, before it opens the store", async () => {
    const stage = setStage(prune);
    const { exitCode, err } = await stage.run("prune", "r", "--keep-last", "2");
    expect(exitCode).toBe(2);
    expect(err).toContain("hint: Pass --yes");
    expect(stage.libraryLoads).toBe(0);
  });

  it("refuses to run without a rule, which would forget everything", async () => {
    const stage = setStage(prune);
    const { exitCode, err } = await stage.run("prune", "r", "--yes");
    expect(exitCode).toBe(2);
    expect(err).toContain("no rule says what to keep");
    expect(stage.libraryLoads).toBe(0);
  });

  it("does not ask when nothing would be pruned", async () => {
    const stage = setStage({ answers: { prune: () => ({ ref: "r", kept: [1], pruned: [] }) }, reply: "" });
    expect(await stage.run("prune", "r", "--keep-last", "2")).toEqual({
      exitCode: 0,
      out: "nothing to prune: r keeps all its 1 version\n",
      err: "",
    });
  });

  it.each([
    ["--keep-last", "0"],
    ["--keep-every", "x"],
    ["--keep-best", "acc:best"],
  ])("refuses %s %s", async (flag, value) => {
    expect((await setStage(prune).run("prune", "r", flag, value, "--yes")).exitCode).toBe(2);
  });
});

const freed = {
  reclaimedBytes: 3 * 1024 * 1024,
  packsRemoved: 2,
  packsRewritten: 1,
  chunksKept: 40,
  chunksRemoved: 12,
};
const gc = { answers: { gc: () => freed } };

describe("varve gc", () => {
  it("marks once and collects once with --yes", async () => {
    const stage = setStage(gc);
    const { out } = await stage.run("gc", "--yes");
    expect(stage.calls).toEqual([["gc", { dryRun: false }]]);
    expect(out).toBe("freed 3.00 MiB: 12 chunks removed, 2 packs removed and 1 rewritten\n");
  });

  it("only plans with --dry-run", async () => {
    const stage = setStage(gc);
    const { out } = await stage.run("gc", "--dry-run");
    expect(stage.calls).toEqual([["gc", { dryRun: true }]]);
    expect(out).toBe("remove 12 chunks, keep 40 chunks\nremove 2 packs, rewrite 1 pack\nfrees 3.00 MiB\n");
    const json = await setStage(gc).run("gc", "--dry-run", "--json");
    expect(JSON.parse(json.out)).toEqual({ ...freed, dryRun: true });
  });

  it("asks, and collects only when the answer is yes", async () => {
    const yes = setStage({ ...gc, reply: "y" });
    expect((await yes.run("gc")).exitCode).toBe(0);
    expect(yes.calls).toEqual([
      ["gc", { dryRun: true }],
      ["gc", { dryRun: false }],
    ]);
    const no = setStage({ ...gc, reply: "n" });
    expect((await no.run("gc")).exitCode).toBe(1);
    expect(no.calls).toEqual([["gc", { dryRun: true }]]);
  });

  it("asks for --yes where there is no terminal", async () => {
    const { exitCode, err } = await setStage(gc).run("gc", "--json");
    expect(exitCode).toBe(2);
    expect(JSON.parse(err).error).toMatchObject({
      code: "ERR_USAGE",
      hint: expect.stringContaining("--yes"),
    });
  });
});
