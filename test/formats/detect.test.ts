import { describe, expect, it } from "vitest";
import { detectFormat } from "../../formats/detect.ts";
import { safetensorsFile } from "../../formats/safetensors/writer.ts";
import { fileOf } from "./hostile-corpus.ts";

const file = safetensorsFile(new Map([["w", { dtype: "U8", shape: [2], data: new Uint8Array(2) }]]));

describe("the format of a file", () => {
  it("is safetensors by its name, whatever it holds, so that a malformed one is refused", () => {
    expect(detectFormat("model-00001-of-00002.safetensors", new Uint8Array(0), 0)).toBe("safetensors");
    expect(detectFormat("MODEL.SafeTensors", new Uint8Array(9), 9)).toBe("safetensors");
  });

  it("is sniffed from its first nine bytes under any other name", () => {
    expect(detectFormat("model.bin", file.subarray(0, 9), file.byteLength)).toBe("safetensors");
    expect(detectFormat("model", file, file.byteLength)).toBe("safetensors");
    expect(detectFormat("model", fileOf("{}"), 10)).toBe("safetensors");
  });

  it("is opaque where the length is implausible or no object follows", () => {
    expect(detectFormat("model.safetensors.index.json", fileOf('{"a":1}').subarray(8), 7)).toBe("opaque");
    expect(detectFormat("x", new Uint8Array(0), 0)).toBe("opaque");
    expect(detectFormat("x", file.subarray(0, 8), 8)).toBe("opaque");
    expect(detectFormat("x", fileOf("[]"), 10)).toBe("opaque");
    expect(detectFormat("x", fileOf("{}", 0, 1n), 10)).toBe("opaque");
    expect(detectFormat("x", fileOf("{}", 0, 3n), 10)).toBe("opaque");
    expect(detectFormat("x", fileOf("{}", 0, 100_000_001n), 2e9)).toBe("opaque");
    expect(detectFormat("x", fileOf("{}", 0, (1n << 32n) + 2n), 2e9)).toBe("opaque");
  });
});
