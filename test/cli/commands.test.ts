import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RestoreOptions, SaveOptions, VersionInfo } from "../../cli/library.ts";
import { StoreError } from "../../src/errors.ts";
import { setStage } from "./stage.ts";

let scratch: string;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), "varve-cli-"));
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const saved = {
  ref: "btc-lstm",
  version: 12,
  manifest: "ab".repeat(32),
  files: 2,
  tensors: 48,
  logicalBytes: 1_288_490_188,
  storedBytes: 42_991_616,
  indexBytes: 8192,
  newChunks: 311,
  durationMs: 1240,
};

const version: VersionInfo = {
  ref: "btc-lstm",
  version: 12,
  parent: { ref: "btc-lstm", version: 11 },
  damaged: false,
  step: 600,
  metrics: { loss: 0.125 },
  metadata: { host: "a\x1b[2Jb" },
  tags: ["prod"],
  timeUs: 1_763_849_330_999_999n,
  manifest: "ab".repeat(32),
  files: 1,
  tensors: 1,
  logicalBytes: 4096,
  storedBytes: 1024,
  newChunks: 1,
  hasResume: true,
};

describe("varve save", () => {
  it("hands every flag to the library and prints what it cost", async () => {
    const resume = join(scratch, "rng.bin");
    writeFileSync(resume, "state");
    const stage = setStage({ answers: { saveFiles: () => saved } });
    const flags = ["--step", "600", "--metric", "loss=0.5", "--metric", "acc=1", "--meta", "run=a=b"];
    const more = ["--parent", "11", "--profile", "compact", "--resume", resume];
    const { exitCode, out, err } = await stage.run(
      "save",
      "btc-lstm",
      "a.safetensors",
      "opt",
      ...flags,
      ...more,
    );
    expect({ exitCode, err }).toEqual({ exitCode: 0, err: "" });
    expect(stage.calls).toEqual([
      [
        "saveFiles",
        "btc-lstm",
        ["a.safetensors", "opt"],
        {
          step: 600,
          metrics: { loss: 0.5, acc: 1 },
          metadata: { run: "a=b" },
          parent: 11,
          profile: "compact",
          resume: Buffer.from("state"),
        },
      ],
    ]);
    expect(stage.opened[0]?.options.create).toBe(true);
    expect(stage.closes).toBe(1);
    expect(out).toBe("btc-lstm@12: 2 files, 48 tensors, 1.20 GiB stored in 41.0 MiB (30.0×) in 1.24 s\n");
  });

  it("passes on no option that was not given", async () => {
    const stage = setStage({ answers: { saveFiles: () => saved } });
    await stage.run("save", "r", "f");
    expect(stage.calls).toEqual([["saveFiles", "r", ["f"], {}]]);
  });

  it("prints exactly the library's fields as JSON, wherever --json stands", async () => {
    for (const argv of [
      ["--json", "save", "r", "f"],
      ["save", "r", "f", "--json", "--quiet"],
    ]) {
      const { out } = await setStage({ answers: { saveFiles: () => saved } }).run(...argv);
      expect(JSON.parse(out)).toEqual(saved);
    }
  });

  it.each([
    [["--step", "1.5"], /--step takes a whole number/],
    [["--step", "-1"], /--step takes a whole number/],
    [["--metric", "loss"], /--metric takes KEY=VALUE/],
    [["--metric", "loss=nan"], /finite number/],
    [["--meta", "=x"], /--meta takes KEY=VALUE/],
    [["--parent", "0"], /--parent takes a whole number of at least 1/],
    [["--profile", "tiny"], /fast or compact/],
    [["--frobnicate"], /unknown option '--frobnicate'/],
  ])("refuses %j before a store is opened", async (flags, message) => {
    const stage = setStage();
    const { exitCode, out, err } = await stage.run("save", "r", "f", ...flags);
    expect({ exitCode, out }).toEqual({ exitCode: 2, out: "" });
    expect(err).toMatch(message);
    expect(stage.libraryLoads).toBe(0);
  });

  it("takes paths that begin with a dash after --", async () => {
    const stage = setStage({ answers: { saveFiles: () => saved } });
    await stage.run("save", "r", "--", "--json");
    expect(stage.calls[0]?.[2]).toEqual(["--json"]);
  });

  it("refuses a resume file of one byte too many without reading it, and one that is not there", async () => {
    const path = join(scratch, "huge.bin");
    writeFileSync(path, "");
    truncateSync(path, 64 * 1024 * 1024 + 1);
    const huge = await setStage().run("save", "r", "f", "--resume", path, "--json");
    expect(huge.exitCode).toBe(1);
    expect(JSON.parse(huge.err).error.code).toBe("ERR_LIMIT");
    const absent = await setStage().run("save", "r", "f", "--resume", join(scratch, "absent"), "--json");
    expect(JSON.parse(absent.err).error).toMatchObject({ code: "ERR_IO", context: { errno: "ENOENT" } });
    truncateSync(path, 64 * 1024 * 1024);
    let blobBytes = 0;
    const stage = setStage({
      answers: {
        saveFiles: (_ref: never, _paths: never, options: SaveOptions) => {
          blobBytes = options.resume?.byteLength ?? -1;
          return saved;
        },
      },
    });
    expect((await stage.run("save", "r", "f", "--resume", path)).exitCode).toBe(0);
    expect(blobBytes).toBe(64 * 1024 * 1024);
  });

  it("shows a bar on the error stream when it takes longer than a second, and not with --quiet or --json", async () => {
    for (const [flag, shown] of [
      ["", true],
      ["--quiet", false],
      ["--json", false],
    ] as const) {
      const stage = setStage({
        terminal: { errIsTerminal: true },
        answers: {
          saveFiles: (_ref: never, _paths: never, { onProgress }: SaveOptions) => {
            stage.clock.nowMs = 1500;
            onProgress?.({ doneBytes: 1, totalBytes: 2 });
            return saved;
          },
        },
      });
      const { out, err } = await stage.run("save", "r", "f", ...(flag === "" ? [] : [flag]));
      expect(err.includes("saving"), flag).toBe(shown);
      expect(out).not.toContain("saving");
      if (flag === "--quiet") expect(out).toBe("");
    }
  });
});

describe("varve restore", () => {
  const restored = {
    ref: "r",
    version: 7,
    files: [{ name: "m", path: "out/m", sizeBytes: 4096 }],
    bytes: 4096,
    durationMs: 41,
  };

  it("hands on selector and flags, opens read-only and prints where the files are", async () => {
    const stage = setStage({ answers: { restoreFiles: () => restored } });
    const flags = ["--out", "out", "--file", "m", "--tensor", "w1", "--tensor", "w2", "--force"];
    const { out } = await stage.run("restore", "r@best:loss", ...flags);
    expect(stage.calls).toEqual([
      ["restoreFiles", "r@best:loss", { out: "out", file: "m", tensors: ["w1", "w2"], force: true }],
    ]);
    expect(stage.opened[0]?.options).toMatchObject({ readOnly: true });
    expect(out).toBe("out/m  4.00 KiB\nrestored r@7: 4.00 KiB in 41.0 ms\n");
  });

  it("needs --out", async () => {
    const { exitCode, err } = await setStage().run("restore", "r");
    expect(exitCode).toBe(2);
    expect(err).toContain("required option '--out <path>' not specified");
  });

  it("writes files and resume blob of one and the same version", async () => {
    const path = join(scratch, "resume-1.bin");
    const answers = {
      show: () => ({ ...version, ref: "r", version: 7 }),
      readResume: () => Buffer.from("state"),
      restoreFiles: () => restored,
    };
    const stage = setStage({ answers });
    const { out } = await stage.run("restore", "r", "--out", "out", "--resume", path, "--json");
    expect(stage.calls.map(([name, selector]) => [name, selector])).toEqual([
      ["show", "r"],
      ["readResume", "r@7"],
      ["restoreFiles", "r@7"],
    ]);
    expect(readFileSync(path, "utf8")).toBe("state");
    expect(JSON.parse(out)).toEqual({ ...restored, resume: { path, sizeBytes: 5 } });

    const again = await setStage({ answers }).run("restore", "r", "--out", "o", "--resume", path, "--json");
    expect(again.exitCode).toBe(1);
    expect(JSON.parse(again.err).error).toMatchObject({ code: "ERR_EXISTS", context: { path } });
    const forced = await setStage({ answers }).run("restore", "r", "--out", "o", "--resume", path, "--force");
    expect(forced.exitCode).toBe(0);
  });

  it("does not replace a resume file that came while it restored, and leaves no parts behind", async () => {
    const path = join(scratch, "raced.bin");
    const stage = setStage({
      answers: {
        show: () => version,
        readResume: () => Buffer.from("ours"),
        restoreFiles: () => {
          writeFileSync(path, "theirs");
          return restored;
        },
      },
    });
    expect((await stage.run("restore", "r", "--out", "o", "--resume", path)).exitCode).toBe(1);
    expect(readFileSync(path, "utf8")).toBe("theirs");
    expect(readdirSync(scratch).filter((name) => name.endsWith(".part"))).toEqual([]);
  });

  it("leaves no resume file behind when restoring fails", async () => {
    const path = join(scratch, "never.bin");
    const stage = setStage({
      answers: {
        show: () => version,
        readResume: () => Buffer.from("state"),
        restoreFiles: (_selector: never, _options: RestoreOptions) => {
          throw new StoreError("ERR_STORE_CORRUPT", "chunk 3 is damaged");
        },
      },
    });
    expect((await stage.run("restore", "r", "--out", "o", "--resume", path)).exitCode).toBe(12);
    expect(readdirSync(scratch).filter((name) => name.startsWith("never"))).toEqual([]);
  });

  it("restores nothing when the version has no resume blob", async () => {
    const stage = setStage({ answers: { show: () => version } });
    const { exitCode, err } = await stage.run(
      "restore",
      "r",
      "--out",
      "o",
      "--resume",
      join(scratch, "none"),
    );
    expect(exitCode).toBe(1);
    expect(err).toContain("btc-lstm@12 was saved without a resume blob");
    expect(stage.calls.map(([name]) => name)).not.toContain("restoreFiles");
  });
});

describe("the verbs that only read", () => {
  it("list refs as a table or an array", async () => {
    const refs = [
      { ...version, versions: 12 },
      { ref: "new", version: 1, versions: 1, timeUs: 0n, logicalBytes: 9, storedBytes: 9 },
    ];
    const props = { answers: { refs: () => refs } };
    expect((await setStage(props).run("refs")).out).toBe(
      "ref       version  versions  step  saved                  logical  all stored\n" +
        "btc-lstm       12        12   600  2025-11-22 22:08:50Z  4.00 KiB    1.00 KiB\n" +
        "new             1         1        1970-01-01 00:00:00Z       9 B         9 B\n",
    );
    expect(JSON.parse((await setStage(props).run("refs", "--json")).out)[1]).toEqual({
      ...refs[1],
      timeUs: "0",
    });
    expect((await setStage({ answers: { refs: () => [] } }).run("refs")).out).toBe("no refs yet\n");
  });

  it("log the versions with a column for each metric", async () => {
    const first = { ...version, version: 1, metrics: { acc: 0.5 }, tags: [], step: undefined };
    const props = { answers: { log: () => [first, version] } };
    const stage = setStage(props);
    const { out } = await stage.run("log", "btc-lstm");
    expect(stage.calls).toEqual([["log", "btc-lstm"]]);
    expect(out).toBe(
      "version  step  acc   loss   logical    stored  ratio  saved                 tags\n" +
        "      1        0.5         4.00 KiB  1.00 KiB  4.00×  2025-11-22 22:08:50Z\n" +
        "     12   600       0.125  4.00 KiB  1.00 KiB  4.00×  2025-11-22 22:08:50Z  prod\n",
    );
    const lost = await setStage({ answers: { log: () => [{ ...version, damaged: true }] } }).run(
      "log",
      "btc-lstm",
    );
    expect(lost.out).toMatch(/ state\n.* prod +damaged\n$/);
    const rows = JSON.parse((await setStage(props).run("log", "btc-lstm", "--json")).out);
    expect(rows[1]).toEqual({ ...version, timeUs: "1763849330999999" });
  });

  it("show one version down to its tensors, with nothing in it that a terminal would obey", async () => {
    const details = {
      ...version,
      fileList: [
        {
          name: "model.safetensors",
          format: "safetensors",
          sizeBytes: 4096,
          tensors: [{ name: "w\x1b", dtype: "F32", shape: [32, 32], sizeBytes: 4096 }],
        },
      ],
    };
    const stage = setStage({ answers: { show: () => details } });
    const { out } = await stage.run("show", "btc-lstm@prod");
    expect(stage.calls).toEqual([["show", "btc-lstm@prod"]]);
    expect(out).toContain("version      btc-lstm@12\nparent       btc-lstm@11\ntags         prod\n");
    expect(out).toContain("meta host    a\\x1b[2Jb\n");
    expect(out).toContain(
      "\nmodel.safetensors  safetensors, 4.00 KiB\ntensor  dtype  shape         size\nw\\x1b",
    );
    expect(out).not.toContain("\x1b");
  });

  it("diff two versions, the equal tensors only counted", async () => {
    const base = { dtype: "F32", shape: [10, 10], elements: 100 };
    const tensors = [
      { ...base, name: "w", status: "changed", changed: 25, maxAbs: 0.5, meanAbs: 0.125, normA: 3, normB: 4 },
      { ...base, name: "b", status: "same", changed: 0 },
      { ...base, name: "n", status: "added", changed: 0 },
    ];
    const stage = setStage({ answers: { diff: () => tensors } });
    const { out } = await stage.run("diff", "r@1", "r@2");
    expect(stage.calls).toEqual([["diff", "r@1", "r@2", {}]]);
    expect(out).toBe(
      "tensor  status   dtype  shape       changed  max |Δ|  mean |Δ|  norm A  norm B\n" +
        "w       changed  F32    [10, 10]  25 (25 %)      0.5     0.125       3       4\n" +
        "n       added    F32    [10, 10]\n" +
        "3 tensors: 1 changed, 1 added, 1 same\n",
    );
    expect((await setStage({ answers: { diff: () => tensors } }).run("diff", "a", "b", "--all")).out).toMatch(
      /^b +same/m,
    );
    expect(
      JSON.parse((await setStage({ answers: { diff: () => tensors } }).run("diff", "a", "b", "--json")).out),
    ).toEqual(tensors);
  });

  it("name the file of each tensor in a diff when there are several", async () => {
    const base = { name: "w", dtype: "F32", shape: [1], elements: 1, status: "added" };
    const tensors = [
      { ...base, file: "model" },
      { ...base, file: "optimizer" },
    ];
    const { out } = await setStage({ answers: { diff: () => tensors } }).run("diff", "a", "b");
    expect(out).toContain("file       tensor  status  dtype  shape\nmodel      w       added   F32    [1]\n");
  });

  it("count in stats by the unit that ends each name", async () => {
    const stats = {
      refs: 2,
      versions: 1200,
      logicalBytes: 4096,
      storedBytes: 1024,
      diskBytes: 2048,
      openMs: 12,
      packs: { sealed: 3 },
    };
    const { out } = await setStage({ answers: { stats: () => stats } }).run("stats", "--quiet");
    expect(out).toBe(
      "refs          2\nversions      1,200\nlogical       4.00 KiB\nstored        1.00 KiB\ndisk          2.00 KiB\n" +
        "open          12.0 ms\npacks sealed  3\nratio         4.00×\n",
    );
    expect(
      JSON.parse((await setStage({ answers: { stats: () => stats } }).run("stats", "--json")).out),
    ).toEqual(stats);
  });
});

describe("varve init", () => {
  it("creates a store once and finds it the second time", async () => {
    let exists = false;
    const open = (_directory: string, { create }: { create?: boolean }) => {
      if (!exists && create !== true) throw new StoreError("ERR_NO_STORE", "no store there");
      exists = true;
    };
    const first = await setStage({ open }).run("--store", "/s/x", "init", "--json");
    expect(JSON.parse(first.out)).toEqual({ store: "/s/x", created: true });
    const second = await setStage({ open }).run("--store", "/s/x", "init");
    expect(second).toEqual({ exitCode: 0, out: "there is a store in /s/x\n", err: "" });
  });

  it("does not create over a store that it cannot open", async () => {
    const stage = setStage({
      open: () => {
        throw new StoreError("ERR_STORE_VERSION", "the store was written by a newer varve");
      },
    });
    expect((await stage.run("init")).exitCode).toBe(1);
    expect(stage.opened.length).toBe(1);
  });
});

describe("varve tag", () => {
  it("tags a version", async () => {
    const stage = setStage({ answers: { tag: () => ({ ref: "r", version: 3, tag: "prod" }) } });
    expect((await stage.run("tag", "r@3", "prod")).out).toBe("r@3 is tagged prod\n");
    expect(stage.calls).toEqual([["tag", "r@3", "prod"]]);
  });
});

describe("varve check", () => {
  const damaged = {
    ok: false,
    problems: [
      {
        what: "frame checksum",
        where: "packs/a.pack at 4096",
        versions: ["r@3", "r@4"],
        hint: "Run varve repair.",
      },
    ],
    notes: [],
    damagedVersions: [],
    checkedBytes: 4096,
  };

  it("ends with 12 when there is damage, and names the versions hit", async () => {
    const stage = setStage({ answers: { check: () => damaged } });
    const { exitCode, out } = await stage.run("check", "--read-data");
    expect(exitCode).toBe(12);
    expect(stage.calls).toEqual([["check", { readData: true }]]);
    expect(out).toBe(
      "problem: frame checksum (packs/a.pack at 4096)\n  affects: r@3, r@4\n  hint: Run varve repair.\n1 problem found, 4.00 KiB checked\n",
    );
    const json = await setStage({ answers: { check: () => damaged } }).run("check", "--json");
    expect(json).toEqual({ exitCode: 12, out: `${JSON.stringify(damaged)}\n`, err: "" });
  });

  it("ends with 0 when there is none", async () => {
    const stage = setStage({
      answers: { check: () => ({ ok: true, problems: [], notes: [], damagedVersions: [], checkedBytes: 0 }) },
    });
    expect(await stage.run("check")).toMatchObject({ exitCode: 0, out: "no damage found, 0 B checked\n" });
    expect(stage.calls).toEqual([["check", { readData: false }]]);
  });
});

describe("varve repair", () => {
  it("says what it did and what is lost", async () => {
    const check = { ok: true };
    const result = { actions: ["rebuilt the chunk index"], quarantined: [], damagedVersions: ["r@3"], check };
    const { out } = await setStage({ answers: { repair: () => result } }).run("repair");
    expect(out).toBe(
      "rebuilt the chunk index\ndamaged versions, which can no longer be restored in full: r@3\n",
    );
    const sound = await setStage({
      answers: { repair: () => ({ actions: [], quarantined: [], damagedVersions: [], check }) },
    }).run("repair");
    expect(sound).toMatchObject({ exitCode: 0, out: "nothing needed repair\n" });
  });

  it("ends with 12 when damage is left", async () => {
    const result = { actions: [], quarantined: ["q/a.pack"], damagedVersions: [], check: { ok: false } };
    const { exitCode, out } = await setStage({ answers: { repair: () => result } }).run("repair");
    expect(exitCode).toBe(12);
    expect(out).toBe(
      "nothing needed repair\nset aside: q/a.pack\ndamage is left: varve check --read-data lists it\n",
    );
  });
});

const encodings = {
  total: [{ encoding: "residual", chunks: 2, rawBytes: 4096, storedBytes: 1024 }],
  files: [
    {
      name: "model.safetensors",
      storedBytes: 1024,
      skeleton: [{ encoding: "zstd", rawBytes: 90, storedBytes: 60 }],
      tensors: [
        {
          name: "w1",
          dtype: "F32",
          storedBytes: 964,
          encodings: [{ encoding: "residual", rawBytes: 4006, storedBytes: 964 }],
        },
      ],
    },
  ],
};

describe("varve show --encodings", () => {
  it("prints bytes by encoding, then by tensor, or the library's fields as JSON", async () => {
    const props = { answers: { encodings: () => encodings } };
    const stage = setStage(props);
    const { out } = await stage.run("show", "r@3", "--encodings");
    expect(stage.calls).toEqual([["encodings", "r@3"]]);
    expect(stage.opened[0]?.options.readOnly).toBe(true);
    expect(out).toBe(
      "encoding  chunks       raw    stored  ratio\n" +
        "residual       2  4.00 KiB  1.00 KiB  4.00×\n" +
        "\n" +
        "model.safetensors  1.00 KiB stored\n" +
        "tensor       dtype  encoding       raw  stored  ratio\n" +
        "w1           F32    residual  3.91 KiB   964 B  4.16×\n" +
        "(no tensor)         zstd          90 B    60 B  1.50×\n",
    );
    const json = await setStage(props).run("show", "r@3", "--encodings", "--json");
    expect(JSON.parse(json.out)).toEqual(encodings);
  });
});

const recompressed = {
  chunks: 70,
  frameBytes: 2_000_000,
  rewritten: 60,
  deadBytes: 1_800_000,
  writtenBytes: 1_500_000,
};

describe("varve recompress", () => {
  const props = { answers: { recompress: () => recompressed } };

  it("rewrites a ref's older versions within the rate asked for", async () => {
    const stage = setStage(props);
    const { out } = await stage.run("recompress", "r", "--rate", "5000000");
    expect(stage.calls).toEqual([["recompress", { ref: "r", bytesPerSecond: 5_000_000, dryRun: false }]]);
    expect(out).toBe(
      "70 chunks of the fast profile, 1.91 MiB; 60 rewritten: 1.72 MiB became 1.43 MiB; gc frees the rest\n",
    );
  });

  it("only says what there is with --dry-run, on a store opened for reading", async () => {
    const stage = setStage(props);
    const { out } = await stage.run("recompress", "--dry-run");
    expect(stage.calls).toEqual([["recompress", { dryRun: true }]]);
    expect(stage.opened[0]?.options.readOnly).toBe(true);
    expect(out).toBe("70 chunks of the fast profile, 1.91 MiB\n");
    const json = await setStage(props).run("recompress", "--dry-run", "--json");
    expect(JSON.parse(json.out)).toEqual({ ...recompressed, dryRun: true });
  });

  it("refuses a rate that is no whole number above zero", async () => {
    const { exitCode, err } = await setStage(props).run("recompress", "--rate", "0");
    expect(exitCode).toBe(2);
    expect(err).toMatch(/--rate/);
  });
});

describe("varve pin, unpin and follow", () => {
  it("pins a ref and waits until its image is there and whole", async () => {
    const waited: string[] = [];
    const pinned = (source: string) => ({
      version: 3,
      source,
      tensors: new Map([["w", { data: new Float32Array(256) }]]),
      imaged: Promise.resolve().then(() => waited.push("imaged")),
      verified: Promise.resolve().then(() => waited.push("verified")),
    });
    const first = setStage({ answers: { pin: () => pinned("chunks") } });
    expect((await first.run("pin", "r")).out).toBe("r@3 is pinned (1.00 KiB)\n");
    expect(waited).toEqual(["imaged", "verified"]);
    const again = setStage({ answers: { pin: () => pinned("mapped") } });
    expect(JSON.parse((await again.run("pin", "r", "--json")).out)).toEqual({
      ref: "r",
      version: 3,
      tensors: 1,
      sizeBytes: 1024,
      written: false,
    });
    const unpinned = setStage();
    expect((await unpinned.run("unpin", "r")).exitCode).toBe(0);
    expect(unpinned.calls).toEqual([["unpin", "r"]]);
  });

  it("prints each new version and ends after as many as asked for", async () => {
    const stage = setStage({
      answers: {
        follow: async function* () {
          for (let version = 5; ; version++) yield { ref: "r", version, storedBytes: 2048 };
        },
      },
    });
    const { out, exitCode } = await stage.run("follow", "r", "--after", "4", "--count", "2");
    expect({ out, exitCode }).toEqual({
      out: "r@5  2.00 KiB stored\nr@6  2.00 KiB stored\n",
      exitCode: 0,
    });
    expect((await stage.run("follow", "r", "--count", "0")).exitCode).toBe(2);
    expect((await stage.run("follow", "r", "--after", "x")).exitCode).toBe(2);
  });
});
