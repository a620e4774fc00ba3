import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { type ErrorCode, InvariantError, StoreError } from "../../src/errors.ts";
import { setStage } from "./stage.ts";

const failing = (error: unknown) => ({
  answers: {
    refs: () => {
      throw error;
    },
  },
});

describe("the exit code", () => {
  it.each([
    ["ERR_NO_STORE", 10],
    ["ERR_STORE_LOCKED", 11],
    ["ERR_STORE_CORRUPT", 12],
    ["ERR_POISONED", 13],
    ["ERR_SEQUENCE_FENCED", 14],
    ["ERR_ABORTED", 130],
    ["ERR_INVALID_ARGUMENT", 2],
    ["ERR_NOT_FOUND", 1],
    ["ERR_CONFLICT", 1],
    ["ERR_DISK_FULL", 1],
    ["ERR_EXISTS", 1],
    ["ERR_FORMAT_SAFETENSORS", 1],
    ["ERR_STORE_VERSION", 1],
    ["ERR_LIMIT", 1],
    ["ERR_IO", 1],
    ["ERR_CLOSED", 1],
  ] satisfies [ErrorCode, number][])("of %s is %d", async (code, exitCode) => {
    const stage = setStage(failing(new StoreError(code, "it failed")));
    expect(await stage.run("refs")).toEqual({ exitCode, out: "", err: "error: it failed\n" });
    expect(stage.closes).toBe(1);
  });

  it("of a broken invariant is 13, of any other error 1", async () => {
    expect((await setStage(failing(new InvariantError("x"))).run("refs")).exitCode).toBe(13);
    expect((await setStage(failing(new TypeError("x"))).run("refs")).exitCode).toBe(1);
    expect((await setStage(failing("x")).run("refs")).exitCode).toBe(1);
    expect((await setStage(failing(new DOMException("stop", "AbortError"))).run("refs")).exitCode).toBe(130);
  });

  it("of wrong usage is 2", async () => {
    for (const argv of [["frobnicate"], ["log"], ["log", "a", "b"], ["refs", "--nope"], ["tag", "r@1"], []]) {
      const stage = setStage();
      expect((await stage.run(...argv)).exitCode, argv.join(" ")).toBe(2);
      expect(stage.libraryLoads).toBe(0);
    }
  });
});

describe("an error", () => {
  const error = new StoreError("ERR_NOT_FOUND", "no ref btc-lsmt\x1b[2J", {
    hint: "Did you mean btc-lstm?",
    context: { nearest: ["btc-lstm"], seq: 12n },
  });

  it("is told with its hint, and nothing of it moves the cursor", async () => {
    expect((await setStage(failing(error)).run("refs")).err).toBe(
      "error: no ref btc-lsmt\\x1b[2J\nhint: Did you mean btc-lstm?\n",
    );
  });

  it("is an object on the error stream with --json, and nothing on the other", async () => {
    const { out, err } = await setStage(failing(error)).run("--json", "refs");
    expect(out).toBe("");
    expect(JSON.parse(err)).toEqual({
      error: {
        code: "ERR_NOT_FOUND",
        message: "no ref btc-lsmt\x1b[2J",
        hint: "Did you mean btc-lstm?",
        context: { nearest: ["btc-lstm"], seq: "12" },
      },
    });
  });

  it("of usage is an object too, also when --json comes after the mistake", async () => {
    const { exitCode, out, err } = await setStage().run("sav", "--json");
    expect({ exitCode, out }).toEqual({ exitCode: 2, out: "" });
    expect(JSON.parse(err).error).toEqual({
      code: "ERR_USAGE",
      message: "unknown command 'sav'",
      hint: "Did you mean save?",
      context: {},
    });
  });

  it("shows its stack with VARVE_DEBUG", async () => {
    const { err } = await setStage({ ...failing(new TypeError("x")), environment: { VARVE_DEBUG: "1" } }).run(
      "refs",
    );
    expect(err).toContain("TypeError: x\n    at ");
  });

  it("while closing fails the command, but hides no earlier error", async () => {
    const close = () => {
      throw new StoreError("ERR_POISONED", "a write failed");
    };
    expect((await setStage({ answers: { refs: () => [] }, close }).run("refs")).exitCode).toBe(13);
    const both = await setStage({ ...failing(error), close }).run("refs");
    expect(both.exitCode).toBe(1);
    expect(both.err).toContain("a write failed");
    expect(both.err).toContain("Did you mean btc-lstm?");
  });

  it("in the background is told and does not end the command", async () => {
    const stage = setStage({
      answers: { refs: () => [] },
      open: (_directory, { onError }) => onError?.(new StoreError("ERR_IO", "a background write failed")),
    });
    expect(await stage.run("refs")).toMatchObject({ exitCode: 0, err: "error: a background write failed\n" });
  });
});

describe("an interrupt", () => {
  it("reaches the library as a signal and ends with 130", async () => {
    const stage = setStage({
      answers: {
        diff: (_a: string, _b: string, { signal }: { signal: AbortSignal }) => {
          stage.controller.abort(new StoreError("ERR_ABORTED", "interrupted"));
          signal.throwIfAborted();
        },
      },
    });
    expect(await stage.run("diff", "r@1", "r@2")).toEqual({
      exitCode: 130,
      out: "",
      err: "error: interrupted\n",
    });
    expect(stage.closes).toBe(1);
  });

  it("before the store is opened opens none", async () => {
    const stage = setStage();
    stage.controller.abort(new StoreError("ERR_ABORTED", "interrupted"));
    expect((await stage.run("refs")).exitCode).toBe(130);
    expect(stage.opened).toEqual([]);
  });
});

describe("the store", () => {
  it("is --store, else VARVE_STORE, else .varve here", async () => {
    const opened = async (environment: Record<string, string>, ...argv: string[]) => {
      const stage = setStage({ environment, answers: { refs: () => [] } });
      await stage.run(...argv);
      return stage.opened[0]?.directory;
    };
    expect(await opened({ VARVE_STORE: "/b" }, "--store", "/a", "refs")).toBe("/a");
    expect(await opened({ VARVE_STORE: "/b" }, "refs", "--store", "/a")).toBe("/a");
    expect(await opened({ VARVE_STORE: "/b" }, "refs")).toBe("/b");
    expect(await opened({ VARVE_STORE: "" }, "refs")).toBe(resolve(".varve"));
    expect(await opened({}, "refs")).toBe(resolve(".varve"));
  });
});

describe("help and version", () => {
  it("load no library and print on standard output", async () => {
    for (const argv of [
      ["--help"],
      ["help"],
      ["save", "--help"],
      ["help", "save"],
      ["--version"],
      ["version"],
    ]) {
      const stage = setStage();
      const { exitCode, out, err } = await stage.run(...argv);
      expect({ exitCode, err }, argv.join(" ")).toEqual({ exitCode: 0, err: "" });
      expect(out).not.toBe("");
      expect(stage.libraryLoads).toBe(0);
    }
  });

  it("name every verb, every exit code and the flags that every verb takes", async () => {
    const { out } = await setStage().run("--help");
    const verbs = [
      "init",
      "save",
      "restore",
      "refs",
      "log",
      "show",
      "diff",
      "tag",
      "follow",
      "pin",
      "unpin",
      "prune",
      "gc",
      "check",
      "repair",
      "stats",
      "version",
      "help",
    ];
    for (const verb of verbs) expect(out).toMatch(new RegExp(`^  ${verb}\\b`, "m"));
    for (const code of [0, 1, 2, 10, 11, 12, 13, 14, 130])
      expect(out).toMatch(new RegExp(`^  ${code} +\\S`, "m"));
    expect((await setStage().run("help", "gc")).out).toContain("--json");
  });

  it("give the package's version", async () => {
    const { version } = JSON.parse((await setStage().run("version", "--json")).out);
    expect(version).toMatch(/^\d+\.\d+\.\d+/);
    expect((await setStage().run("--version")).out).toBe(`${version}\n`);
  });
});
