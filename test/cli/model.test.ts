import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { setStage } from "./stage.ts";

const version = (name: string) => ({
  ref: "m",
  version: 3,
  fileList: [{ name, sizeBytes: 10, tensors: [] }],
});

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "varve-model-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("varve model", () => {
  it("says that a version has no model", async () => {
    const stage = setStage({ answers: { show: () => version("notes.txt") } });
    const { exitCode, err } = await stage.run("model", "info", "m");
    expect([exitCode, err]).toEqual([1, expect.stringContaining("m@3 has no ONNX file")]);
  });

  it.each([
    ["no JSON", "x", "no JSON"],
    ["a list", "[]", "no JSON object"],
    ["an unknown dtype", '{"x": {"dtype": "F8", "shape": [1], "data": [1]}}', "x has the dtype F8"],
    ["no shape", '{"x": {"dtype": "F32", "data": [1]}}', "x needs a shape"],
    ["text for a number", '{"x": {"dtype": "I64", "shape": [1], "data": ["one"]}}', "no numbers"],
    ["null", '{"x": null}', "x has the dtype undefined"],
  ])("refuses %s as input before it opens the store", async (_, text, message) => {
    const path = join(directory, "input.json");
    writeFileSync(path, text);
    const stage = setStage();
    const { exitCode, err } = await stage.run("model", "run", "m", "--input", path);
    expect([exitCode, err]).toEqual([2, expect.stringContaining(message)]);
    expect(stage.opened).toEqual([]);
  });

  it("takes what is said of a skeleton only together with one", async () => {
    const stage = setStage();
    const { exitCode, err } = await stage.run("model", "run", "m", "--input", "-", "--prefix", "model.");
    expect([exitCode, err]).toEqual([2, expect.stringContaining("--skeleton")]);
    expect(stage.opened).toEqual([]);
  });

  it("puts a version's tensors into the skeleton that is named", async () => {
    const served: unknown[] = [];
    const path = join(directory, "one.json");
    writeFileSync(path, '{"x": {"dtype": "F32", "shape": [1], "data": [1]}}');
    const serve = (selector: string, options: unknown) => {
      served.push(selector, options);
      const outputs = { y: { dtype: "F32", shape: [1], data: Float32Array.of(2) } };
      return { run: () => ({ version: 3, outputs }), close: () => {} };
    };
    const stage = setStage({ answers: { show: () => version("w.safetensors"), serve } });
    const run = (...more: string[]) =>
      stage.run("model", "run", "m", "--input", path, "--skeleton", "net.onnx", ...more);
    expect(await run("--prefix", "model.", "--keep", "shape")).toMatchObject({ exitCode: 0 });
    expect(await run("--keep", "*")).toMatchObject({ exitCode: 0 });
    expect(served).toEqual([
      "m@3",
      { onnx: { skeleton: "net.onnx", tensors: "model.", keep: ["shape"] } },
      "m@3",
      { onnx: { skeleton: "net.onnx", keep: true } },
    ]);
  });
});
