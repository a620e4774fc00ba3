import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import type { ModelSignature, ServeModelOptions, Tensor, Store as WholeStore } from "../../index.ts";
import { isStoreError, StoreError } from "../../src/errors.ts";
import { UsageError } from "../exit-codes.ts";
import type { VersionDetails } from "../library.ts";
import { formatBytes, plural } from "../render/quantities.ts";
import { renderFields } from "../render/table.ts";
import { printable } from "../render/text.ts";
import type { Session } from "../session.ts";

type Tensors = Record<string, Tensor>;

/** `varve model`: what an ONNX model takes and gives, and a run of it. */
export function addModel(program: Command, session: Session): void {
  const model = program.command("model").description("look at a version's ONNX model, or run it");
  model
    .command("info")
    .description("show what a model takes and gives, and what it holds")
    .argument("<version>", "REF or REF@SELECTOR")
    .action((selector: string) => showInfo(session, selector));
  model
    .command("run")
    .description("run a model once; needs onnxruntime-node")
    .argument("<version>", "REF or REF@SELECTOR")
    .requiredOption(
      "--input <file>",
      'JSON: {"NAME": {"dtype": "F32", "shape": [2], "data": [1, 2]}}; - reads it from standard input',
    )
    .option("--skeleton <model>", "an ONNX file whose weights the version's plain tensors take the place of")
    .option("--prefix <text>", "with --skeleton: what goes before its tensors' names in the version")
    .option("--keep <name...>", "with --skeleton: initializers that stay its own; all of them: --keep '*'")
    .action((selector: string, options: RunOptions) => runOnce(session, selector, options));
}

interface RunOptions {
  input: string;
  skeleton?: string;
  prefix?: string;
  keep?: string[];
}

async function showInfo(session: Session, selector: string): Promise<void> {
  const info = await session.withStore({ readOnly: true }, async (store) => {
    const version = await store.checkpoints.show(selector);
    const file = version.fileList.find(({ name }) => name.toLowerCase().endsWith(".onnx"));
    if (file === undefined) throw noModel(version);
    const { tensors } = file;
    const tensorBytes = tensors.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const signature = await signatureOf(store as unknown as WholeStore, version, session);
    const { ref, version: number } = version;
    const sizes = { sizeBytes: file.sizeBytes, tensors: tensors.length, tensorBytes };
    return { ref, version: number, file: file.name, ...sizes, ...signature };
  });
  session.report(info, () => {
    const describe = (values: ModelSignature["inputs"] = []) =>
      values.map(
        ({ name, type, shape }) => `${name} ${type} [${shape.map((axis) => axis ?? "?").join(", ")}]`,
      );
    const { inputs, outputs } = info as Partial<ModelSignature>;
    const rows: [string, string][] = [
      ["version", `${info.ref}@${info.version}`],
      ["file", `${info.file}, ${formatBytes(info.sizeBytes)}`],
      ["tensors", `${plural(info.tensors, "tensor")}, ${formatBytes(info.tensorBytes)}`],
      ...describe(inputs).map((text): [string, string] => ["input", text]),
      ...describe(outputs).map((text): [string, string] => ["output", text]),
    ];
    return renderFields(rows, session.style);
  });
}

/** What the runtime says of the model; nothing when it is not installed, which the user is told. */
async function signatureOf(
  store: WholeStore,
  { ref, version }: VersionDetails,
  session: Session,
): Promise<Partial<ModelSignature>> {
  try {
    const model = await store.checkpoints.serve(`${ref}@${version}`, { onnx: true });
    const { signature } = model;
    await model.close();
    return signature;
  } catch (error) {
    if (!isStoreError(error, "ERR_NOT_FOUND")) throw error;
    session.warn(error);
    return {};
  }
}

function modelOf({ skeleton, prefix, keep }: RunOptions): ServeModelOptions["onnx"] {
  if (skeleton === undefined) {
    if (prefix === undefined && keep === undefined) return true;
    throw new UsageError("--prefix and --keep are about a skeleton", "Name it with --skeleton.");
  }
  return {
    skeleton,
    ...(prefix !== undefined && { tensors: prefix }),
    ...(keep !== undefined && { keep: keep.includes("*") ? true : keep }),
  };
}

async function runOnce(session: Session, selector: string, options: RunOptions): Promise<void> {
  const onnx = modelOf(options);
  const path = options.input;
  const inputs = readInputs(await readFile(path === "-" ? "/dev/stdin" : path, "utf8"));
  const answer = await session.withStore({ readOnly: true }, async (store) => {
    const { version, ref } = await store.checkpoints.show(selector);
    // Pinned: one run needs no follower.
    const model = await (store as unknown as WholeStore).checkpoints.serve(`${ref}@${version}`, { onnx });
    try {
      return { ref, ...(await model.run(inputs)) };
    } finally {
      await model.close();
    }
  });
  const outputs = Object.fromEntries(
    Object.entries(answer.outputs).map(([name, { dtype, shape, data }]) => [
      name,
      { dtype, shape, data: listOf(data) },
    ]),
  );
  session.report({ ref: answer.ref, version: answer.version, outputs }, () =>
    Object.entries(outputs)
      .map(
        ([name, { dtype, shape, data }]) =>
          `${printable(name)}  ${dtype} [${shape.join(", ")}]  ${shortList(data)}\n`,
      )
      .join(""),
  );
}

const MAKERS = {
  BOOL: (data: unknown[]) => Uint8Array.from(data, (value) => (value ? 1 : 0)),
  F32: (data: unknown[]) => Float32Array.from(data, Number),
  F64: (data: unknown[]) => Float64Array.from(data, Number),
  I32: (data: unknown[]) => Int32Array.from(data, Number),
  I64: (data: unknown[]) => BigInt64Array.from(data, (value) => BigInt(String(value))),
  U8: (data: unknown[]) => Uint8Array.from(data, Number),
} as const;

function readInputs(text: string): Tensors {
  const fail = (problem: string): never => {
    throw new UsageError(
      `--input: ${problem}`,
      'It is {"NAME": {"dtype": "F32", "shape": [2], "data": [1, 2]}}.',
    );
  };
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return fail("the file is no JSON");
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed))
    return fail("the file is no JSON object");
  const entries = Object.entries(parsed).map(([name, value]): [string, Tensor] => {
    const { dtype, shape, data } = (value ?? {}) as Record<string, unknown>;
    const make = MAKERS[dtype as keyof typeof MAKERS];
    if (make === undefined)
      return fail(`${name} has the dtype ${String(dtype)}; it may be ${Object.keys(MAKERS).join(", ")}`);
    if (!Array.isArray(shape) || !Array.isArray(data))
      return fail(`${name} needs a shape and data, both lists`);
    try {
      return [name, { dtype: dtype as keyof typeof MAKERS, shape: shape as number[], data: make(data) }];
    } catch {
      return fail(`${name} holds data that are no numbers`);
    }
  });
  return Object.fromEntries(entries);
}

/** Numbers as JSON and people read them: 64-bit integers as text where a double would not hold them. */
function listOf(data: Tensor["data"]): (number | string)[] {
  return Array.from<number | bigint, number | string>(data, (value) => {
    if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : String(value);
  });
}

function shortList(values: (number | string)[]): string {
  const shown = values.slice(0, 16).join(" ");
  return values.length > 16 ? `${shown} … ${values.length} values` : shown;
}

function noModel({ ref, version }: VersionDetails): StoreError {
  return new StoreError("ERR_NOT_FOUND", `${ref}@${version} has no ONNX file`, {
    hint: `\`varve show ${ref}@${version}\` lists its files.`,
  });
}
