import { describe, expect, it } from "vitest";
import { planChunks } from "../../checkpoints/chunk-plan.ts";
import { decodeLayout, encodeLayout } from "../../checkpoints/layout-node.ts";
import type { StoredLayout } from "../../checkpoints/manifest-format.ts";
import { familiesOf, storedLayout } from "../../checkpoints/optimizer/families.ts";
import { settingsIn } from "../../checkpoints/optimizer/settings.ts";
import type { TensorSpan } from "../../formats/layout.ts";

/** Tensors of float32, back to back from byte 8 on. */
function spansOf(sizes: [name: string, elements: number][]): TensorSpan[] {
  let offset = 8;
  return sizes.map(([name, elements]) => {
    const span: TensorSpan = { name, dtype: "F32", shape: [elements], offset, sizeBytes: elements * 4 };
    offset += span.sizeBytes;
    return span;
  });
}

const stateOf = (name: string, elements: number): [string, number][] =>
  ["", ".exp_avg", ".exp_avg_sq"].map((slot) => [`${name}${slot}`, elements]);

const elementsOf = (layout: StoredLayout) => {
  const end = layout.spans.reduce((sum, { sizeBytes }) => sum + sizeBytes, 8);
  return planChunks(layout, end)
    .filter(({ element }) => element === "f32")
    .map(({ rawBytes }) => rawBytes / 4);
};

describe("families of weights and their state", () => {
  it.each([
    ["PyTorch's, flattened", ["a.weight", "a.weight.exp_avg", "a.weight.exp_avg_sq"]],
    [
      "PyTorch's, as collections",
      ["model.a.weight", "optimizer.state.a.weight.exp_avg", "state.a.weight.exp_avg_sq"],
    ],
    ["optax's", ["params/a/kernel", "opt_state/0/mu/a/kernel", "opt_state/0/nu/a/kernel"]],
    ["PyTorch's by number", ["a.weight", "state.0.exp_avg", "state.0.exp_avg_sq"]],
  ])("are paired by names: %s", (_, names) => {
    const families = familiesOf(spansOf(names.map((name) => [name, 4])));
    expect(families.length).toBe(1);
    expect(families[0]!.weight?.name).toBe(names[0]);
    expect([...families[0]!.slots].map(([slot, { name }]) => [slot, name])).toEqual([
      ["first", names[1]],
      ["second", names[2]],
    ]);
  });

  it("are none where sizes differ, and none in models without state", () => {
    expect(
      familiesOf(
        spansOf([
          ["w", 4],
          ["v", 4],
          ["sum", 4],
        ]),
      ),
    ).toEqual([]);
    const [family] = familiesOf(
      spansOf([
        ["w", 4],
        ["w.exp_avg", 5],
      ]),
    );
    expect(family!.weight).toBeUndefined();
    expect(
      storedLayout({ format: "safetensors", spans: spansOf([["w", 4]]) }).familiesTogether,
    ).toBeUndefined();
  });

  it("share a chunk, or have one each where they are too large, and are not parted", () => {
    const spans = spansOf([
      ...stateOf("a", 10_000),
      ...stateOf("b", 15_000),
      ...stateOf("c", 30_000),
      ...stateOf("d", 9),
    ]);
    const layout = storedLayout({ format: "safetensors", spans });
    expect(layout.familiesTogether).toBe(true);
    expect(elementsOf(layout)).toEqual([30_000, 45_000, 30_000, 30_000, 30_027]);
    expect(elementsOf({ format: "safetensors", spans })).toEqual([60_000, 45_000, 60_027]);
  });

  it("are remembered by the layout's node, and older layouts stay what they were", () => {
    const layout = storedLayout({ format: "safetensors", spans: spansOf(stateOf("a", 7)) });
    expect(decodeLayout(encodeLayout(layout), "safetensors")).toEqual(layout);
    expect(Buffer.from(encodeLayout(layout)).toString("latin1", 0, 4)).toBe("VLY2");
    const plain = { format: "safetensors", spans: layout.spans };
    expect(decodeLayout(encodeLayout(plain), "safetensors")).toEqual(plain);
    const newer = encodeLayout(plain);
    newer[3] = 0x33;
    expect(() => decodeLayout(newer, "safetensors")).toThrow(/newer/);
  });
});

describe("hyperparameters in a file's metadata", () => {
  it("are read under their usual names, and what is no number is not there", () => {
    const settings = settingsIn(
      new Map([
        ["optimizer", "AdamW"],
        ["learning_rate", "3e-4"],
        ["betas", "(0.9, 0.95)"],
        ["eps", "tiny"],
        ["weight_decay", "0.1"],
        ["step", "121"],
      ]),
    );
    expect(settings).toEqual({ kind: "AdamW", lr: 3e-4, betas: [0.9, 0.95], weightDecay: 0.1, step: 121 });
    expect(
      settingsIn(
        new Map([
          ["beta1", "0.8"],
          ["beta2", "0.99"],
        ]),
      ),
    ).toEqual({ betas: [0.8, 0.99] });
    expect(settingsIn(new Map([["format", "pt"]]))).toBeUndefined();
  });
});
