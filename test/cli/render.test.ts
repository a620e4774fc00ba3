import { describe, expect, it } from "vitest";
import { renderJson } from "../../cli/render/json.ts";
import { progressLine, startProgress } from "../../cli/render/progress.ts";
import { styleFor } from "../../cli/render/style.ts";
import { renderFields, renderTable } from "../../cli/render/table.ts";
import { displayWidth, printable } from "../../cli/render/text.ts";
import type { Terminal } from "../../cli/terminal.ts";

const plain = styleFor(false, {});

describe("a table", () => {
  const columns = [
    { title: "name", cell: (row: [string, string]) => row[0] },
    { title: "size", align: "right" as const, cell: (row: [string, string]) => row[1] },
    { title: "tags", cell: () => "" },
  ];

  it("aligns its columns, leaves empty ones out and trails no spaces", () => {
    const rows: [string, string][] = [
      ["w1", "12 B"],
      ["a long name", "1.50 KiB"],
    ];
    expect(renderTable(rows, columns, plain)).toBe(
      "name             size\nw1               12 B\na long name  1.50 KiB\n",
    );
  });

  it("counts wide characters as two columns and marks as none", () => {
    expect(
      renderTable(
        [
          ["重み", "1"],
          ["e\u0301", "2"],
        ] as [string, string][],
        columns,
        plain,
      ),
    ).toBe("name  size\n重み     1\ne\u0301        2\n");
    expect(displayWidth("a😀")).toBe(3);
  });

  it("cannot be forged by a name", () => {
    const forged = "x\x1b[2J\r\n\u202egpj";
    expect(renderTable([[forged, "1"]], columns, plain)).toContain("x\\x1b[2J\\x0d\\x0a\\u202egpj");
    const fields = renderFields([[forged, forged]], plain);
    expect(["\x1b", "\r", "\u202e"].filter((character) => fields.includes(character))).toEqual([]);
  });
});

describe("printable text", () => {
  it("keeps letters of every script and escapes what moves the cursor", () => {
    expect(printable("模型 é 😀")).toBe("模型 é 😀");
    expect(printable("\0\x7f\x9b\u2028\u200b\ud800\u{e0001}")).toBe(
      "\\x00\\x7f\\x9b\\u2028\\u200b\\ud800\\u{e0001}",
    );
  });
});

describe("fields", () => {
  it("stand in one column, empty ones left out", () => {
    expect(
      renderFields(
        [
          ["step", "600"],
          ["parent", ""],
          ["manifest", "ab"],
        ],
        plain,
      ),
    ).toBe("step      600\nmanifest  ab\n");
  });
});

describe("colours", () => {
  it("are for terminals alone, and not where NO_COLOR is set to anything", () => {
    expect(styleFor(true, {}).red("x")).toBe("\x1b[31mx\x1b[0m");
    expect(styleFor(false, {}).red("x")).toBe("x");
    expect(styleFor(true, { NO_COLOR: "1" }).red("x")).toBe("x");
    expect(styleFor(true, { NO_COLOR: "" }).red("x")).toBe("\x1b[31mx\x1b[0m");
    expect(styleFor(true, { TERM: "dumb" }).red("x")).toBe("x");
  });
});

describe("JSON", () => {
  it("is one line, with 64-bit times as strings", () => {
    expect(renderJson({ timeUs: 1_763_849_330_999_999n, name: "a\nb" })).toBe(
      '{"timeUs":"1763849330999999","name":"a\\nb"}\n',
    );
  });
});

describe("a progress bar", () => {
  function watch(errIsTerminal: boolean, columns = 120) {
    const watched = { nowMs: 0, err: "" };
    const terminal = {
      errIsTerminal,
      columns,
      nowMs: () => watched.nowMs,
      writeErr: (text: string) => {
        watched.err += text;
      },
    } as Terminal;
    return { watched, terminal };
  }
  const at = (doneBytes: number) => ({ doneBytes, totalBytes: 1000 });

  it("shows nothing for work of less than a second", () => {
    const { watched, terminal } = watch(true);
    const bar = startProgress(terminal, "saving", true);
    watched.nowMs = 999;
    bar.update(at(999));
    bar.clear();
    expect(watched.err).toBe("");
  });

  it("is redrawn ten times a second at most, and leaves a clean line", () => {
    const { watched, terminal } = watch(true);
    const bar = startProgress(terminal, "saving", true);
    for (watched.nowMs = 1000; watched.nowMs < 2000; watched.nowMs += 10) bar.update(at(watched.nowMs / 2));
    expect(watched.err.split("\r\x1b[2K").length - 1).toBe(10);
    bar.clear();
    expect(watched.err.endsWith("\r\x1b[2K")).toBe(true);
    const drawn = watched.err;
    bar.clear();
    expect(watched.err).toBe(drawn);
  });

  it("writes nothing where no terminal is, or where it is not wanted", () => {
    for (const [isTerminal, enabled] of [
      [false, true],
      [true, false],
    ] as const) {
      const { watched, terminal } = watch(isTerminal);
      const bar = startProgress(terminal, "saving", enabled);
      watched.nowMs = 5000;
      bar.update(at(500));
      bar.clear();
      expect(watched.err).toBe("");
    }
  });

  it("never wraps a narrow terminal's line", () => {
    const { watched, terminal } = watch(true, 20);
    const bar = startProgress(terminal, "saving", true);
    watched.nowMs = 5000;
    bar.update(at(500));
    expect(watched.err.replace("\r\x1b[2K", "").length).toBe(19);
  });

  it("tells share, bytes, rate and time left", () => {
    expect(progressLine("saving", { doneBytes: 2 ** 30, totalBytes: 2 ** 31 }, 2000)).toBe(
      "saving  ████████████░░░░░░░░░░░░  50 %  1.00 GiB of 2.00 GiB  512 MiB/s  2.00 s left",
    );
    expect(progressLine("saving", { doneBytes: 0, totalBytes: 2048 }, 1000)).toBe(
      "saving  ░░░░░░░░░░░░░░░░░░░░░░░░   0 %  0 B of 2.00 KiB  0 B/s",
    );
    expect(progressLine("marking", { doneBytes: 2048, totalBytes: 0 }, 1000)).toBe(
      "marking  2.00 KiB  2.00 KiB/s",
    );
    expect(progressLine("saving", { doneBytes: 3000, totalBytes: 2000 }, 1000)).toContain("100 %");
  });
});
