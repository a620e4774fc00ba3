import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planChunks } from "../../checkpoints/chunk-plan.ts";
import { type Served, serveStore } from "../server/served.ts";
import { pythonWith, runPython, startPython } from "./python.ts";

const python = pythonWith("json");
const numpy = pythonWith("numpy");
const torch = pythonWith("torch");
if (torch === undefined)
  console.warn("no Python here has PyTorch (python3-torch): the tests that need it are skipped");

let served: Served;
beforeAll(async () => {
  served = await serveStore();
});
afterAll(() => served.close());

describe.skipIf(python === undefined)("the Python client, with nothing but the standard library", () => {
  it("saves and loads a state of every plain kind of value, exactly", async () => {
    await runPython(
      python!,
      `
import math, varve_client
state = {"a": [1, 2.5, -0.0, True, None, "täxt\\U0001f600", b"\\x00\\xff"], "t": (1, (2,)), 7: {"nested": {}}, (1, "k"): 2**70,
         "nan": float("nan"), "inf": float("-inf"), "c": 1 + 2j, "": "empty key", "long": "x" * 3_000_000}
again = dict(state)
with varve_client.connect() as store:
    saved = store.save("plain", state, step=3, metrics={"loss": 0.5}, metadata={"who": "me"})
    assert saved["version"] == 1 and saved["step"] == 3, saved
    back = store.load("plain@step:3")
    assert math.isnan(back.pop("nan")) and math.isnan(state.pop("nan"))
    assert back == state and list(back) == list(state), back
    assert str(back["a"][2]) == "-0.0" and type(back["t"]) is tuple and back["a"][3] is True
    before = store.bytes_sent
    store.save("plain", again, step=4)
    assert store.bytes_sent - before < 50_000, store.bytes_sent - before
`,
      served.url,
    );
    expect(served.store.checkpoints.log("plain").map(({ step }) => step)).toEqual([3, 4]);
  });

  it("says what cannot be saved and where, and leaves nothing behind", async () => {
    const out = await runPython(
      python!,
      `
import varve_client
store = varve_client.connect()
loop = []; loop.append(loop)
for state in ({"model": {"hook": print}}, {"loop": loop}, {b"k": 1}, {"s": {1, 2}}):
    try:
        store.save("impossible", state)
        print("saved")
    except varve_client.VarveError as error:
        print(error.code)
try:
    store.load("impossible")
except varve_client.VarveError as error:
    print(error.code, error.status)
`,
      served.url,
    );
    expect(out.trim().split("\n")).toEqual([...Array(4).fill("ERR_INVALID_ARGUMENT"), "ERR_NOT_FOUND 404"]);
  });

  it("never lets a failure in the background pass unseen", async () => {
    const out = await runPython(
      python!,
      `
import varve_client, time
store = varve_client.connect()
store.save("unseen", {"x": 1})
ticket = store.save_async("unseen", {"x": 2}, parent=9)
try:
    ticket.result()
except varve_client.VarveError as error:
    print("ticket", error.code, error.status)
store.save_async("unseen", {"x": 2}, parent=9)
while not store._unseen[-1][1].done():
    time.sleep(0.01)
try:
    store.save("unseen", {"x": 3})
except varve_client.VarveError as error:
    print("next", error.code)
store.save_async("unseen", {"x": 2}, parent=9)
try:
    store.close()
except varve_client.VarveError as error:
    print("close", error.code)
`,
      served.url,
    );
    expect(out.trim().split("\n")).toEqual([
      "ticket ERR_CONFLICT 412",
      "next ERR_ABORTED",
      "close ERR_ABORTED",
    ]);
    expect(served.store.checkpoints.log("unseen")).toHaveLength(1);
  });

  it("refuses to save over a version it does not know of", async () => {
    const out = await runPython(
      python!,
      `
import varve_client
store = varve_client.connect()
store.save("parents", {"x": 1}); store.save("parents", {"x": 2}, parent=1)
try:
    store.save("parents", {"x": 3}, parent=1)
except varve_client.VarveError as error:
    print(error.code, error.status)
`,
      served.url,
    );
    expect(out.trim()).toBe("ERR_CONFLICT 412");
  });

  it("cuts files as the store does", async () => {
    const spans = [
      ["a", "F32", 80, 4 * 70_000],
      ["b", "F32", 280_080, 4 * 10],
      ["c", "F32", 280_120, 4 * 65_530],
      ["d", "BF16", 542_240, 2 * 5],
      ["e", "U8", 542_260, 65_536],
      ["f", "U8", 607_796, 0],
      ["g", "F64", 4_000_000, 8 * 65_535],
    ] as const;
    const out = await runPython(
      python!,
      `import json, varve_client; print(json.dumps(varve_client._plan_chunks(${JSON.stringify(spans)}, 6_000_000)))`,
      served.url,
    );
    const theirs = JSON.parse(out).map(([offset, rawBytes, , key]: unknown[]) => ({ offset, rawBytes, key }));
    const layout = spans.map(([name, dtype, offset, sizeBytes]) => ({
      name,
      dtype,
      shape: [],
      offset,
      sizeBytes,
    }));
    const ours = planChunks({ format: "safetensors", spans: layout }, 6_000_000);
    expect(theirs).toEqual(ours.map(({ offset, rawBytes, key }) => ({ offset, rawBytes, key })));
  });

  it("follows a ref: the newest version first, then each as it comes", async () => {
    const follower = startPython(
      python!,
      [
        "-c",
        "import varve_client\nfor v, s in varve_client.connect().follow('followed'):\n  print(v['version'], s['n'], flush=True)\n  if s['n'] == 3: break",
      ],
      served.url,
    );
    const save = (n: number) =>
      runPython(
        python!,
        `import varve_client; varve_client.connect().save("followed", {"n": ${n}})`,
        served.url,
      );
    await save(1);
    while (follower.lines.length === 0) await new Promise((resolve) => setTimeout(resolve, 50));
    await save(2);
    await save(3);
    const { code, out, err } = await follower.ended;
    expect(code, err).toBe(0);
    expect(out.trim().split("\n").at(-1)).toBe("3 3");
  });
});

describe.skipIf(numpy === undefined)("the Python client, with numpy", () => {
  it("moves every element type exactly, big-endian and Fortran-ordered ones as what they mean", async () => {
    await runPython(
      numpy!,
      `
import numpy as np, varve_client
rng = np.random.default_rng(1)
state = {t: rng.integers(0, 255, 40, dtype=np.uint8).view(t).reshape(-1, 1) for t in
         ("u1 i1 u2 i2 f2 u4 i4 f4 u8 i8 f8 c8").split() if 40 % np.dtype(t).itemsize == 0}
state.update(big=np.arange(6, dtype=">f4").reshape(2, 3), fortran=np.asfortranarray(np.arange(6.).reshape(2, 3)),
             flags=np.array([True, False]), scalar=np.float32(3), empty=np.zeros((0, 3)), strided=np.arange(10)[::3])
with varve_client.connect() as store:
    store.save("arrays", state)
    back = store.load("arrays")
for name, array in state.items():
    assert back[name].shape == array.shape and back[name].dtype == array.dtype.newbyteorder("="), name
    assert back[name].tobytes() == np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes(), name
`,
      served.url,
    );
    const big = await (await served.store.checkpoints.open("arrays")).tensor("big");
    expect([...(big.data as Float32Array)]).toEqual([0, 1, 2, 3, 4, 5]);
  });
});

describe.skipIf(torch === undefined)("a PyTorch loop", () => {
  it("has its whole state in one version, bfloat16 to the last bit, and sends only what changed", async () => {
    await runPython(
      torch!,
      `
import torch, varve_client
torch.manual_seed(1)
model = torch.nn.Sequential(torch.nn.Linear(512, 1024), torch.nn.Linear(1024, 256))
state = lambda: {"model": model.state_dict(), "half": model[0].weight.bfloat16(), "rng": torch.get_rng_state(),
                 "bits": torch.arange(-32768, 32767, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)}
with varve_client.connect() as store:
    store.save("torch", state(), step=1)
    with torch.no_grad():
        model[1].bias.add_(1)
    before = store.bytes_sent
    store.save("torch", state(), step=2)
    assert store.bytes_sent - before < 30_000, store.bytes_sent - before
    back = store.load("torch")
    for name in ("half", "bits"):
        assert back[name].dtype == torch.bfloat16
        assert torch.equal(back[name].view(torch.int16), state()[name].view(torch.int16))
    other = torch.nn.Sequential(torch.nn.Linear(512, 1024), torch.nn.Linear(1024, 256))
    store.load_into(other, "torch")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values()))
    ticket = store.save_async("torch", state(), step=3)
    with torch.no_grad():
        model[1].bias.add_(1)
    assert ticket.result()["step"] == 3
    assert torch.equal(store.load("torch@3")["model"]["1.bias"] + 1, model[1].bias)
`,
      served.url,
    );
  });

  it("is killed at any time and goes on to the same losses, bit for bit", async () => {
    const flags = ["--steps", "40", "--ref"];
    const loop = (ref: string) =>
      startPython(torch!, ["examples/pytorch_loop.py", ...flags, ref], served.url);
    // The same, but it never comes to its end: it is killed before step 36, or waits there until it is.
    const endless = (ref: string) =>
      startPython(
        torch!,
        [
          "-c",
          `
import builtins, runpy, time
said = builtins.print
def say(*words, **how):
    said(*words, **how)
    if words[0] == 36: time.sleep(1e6)
builtins.print = say
runpy.run_path("examples/pytorch_loop.py", run_name="__main__")
`,
          ...flags,
          ref,
        ],
        served.url,
      );
    const whole = await loop("unbroken").ended;
    expect(whole.code, whole.err).toBe(0);
    const broken = endless("broken");
    while (broken.lines.length < 23) await new Promise((resolve) => setTimeout(resolve, 2));
    broken.process.kill("SIGKILL");
    await broken.ended;
    const resumed = await loop("broken").ended;
    expect(resumed.code, resumed.err).toBe(0);
    expect(resumed.err).toMatch(/resumed at step \d+/);
    const lines = (text: string) => text.trim().split("\n");
    const rest = lines(resumed.out);
    expect(rest.length).toBeGreaterThan(0);
    expect(rest.length).toBeLessThan(40);
    expect(rest).toEqual(lines(whole.out).slice(-rest.length));
  });

  it("leaves .pt files that come back byte for byte, tensors as tensors", async () => {
    const path = `${served.directory}/state.pt`;
    await runPython(
      torch!,
      `
import torch
model = torch.nn.LSTM(16, 32, 2)
opt = torch.optim.Adam(model.parameters()); model(torch.randn(3, 1, 16))[0].sum().backward(); opt.step()
torch.save({"model": model.state_dict(), "opt": opt.state_dict(), "t": model.weight_ih_l0.detach().t(),
            "bf": torch.ones(7, dtype=torch.bfloat16), "c": torch.zeros(2, dtype=torch.complex128), "rng": torch.get_rng_state()}, ${JSON.stringify(path)})
`,
      served.url,
    );
    await served.store.checkpoints.saveFiles("pt", [path]);
    const { fileList } = await served.store.checkpoints.show("pt");
    expect(fileList[0]!.format).toBe("pt");
    const names = fileList[0]!.tensors.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(["model.weight_ih_l0", "opt.state.0.exp_avg", "bf", "rng"]));
    const out = `${served.directory}/restored.pt`;
    await served.store.checkpoints.restoreFiles("pt", { out });
    await runPython(
      torch!,
      `import torch; a, b = open(${JSON.stringify(path)}, "rb").read(), open(${JSON.stringify(out)}, "rb").read(); assert a == b; torch.load(${JSON.stringify(out)})`,
      served.url,
    );
  });
});
