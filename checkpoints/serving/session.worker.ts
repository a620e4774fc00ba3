/** A session's own thread: building one and running it hold a thread, which is this one and never the caller's. */
import { parentPort, workerData } from "node:worker_threads";
import { type DType, type Tensor, type TypedArray, tensorSizeBytes } from "../../formats/tensor.ts";
import { StoreError, toErrorRecord } from "../../src/errors.ts";
import type {
  ModelBytes,
  ModelSignature,
  RunRequest,
  SessionReply,
  SessionRequest,
  SessionStart,
} from "./messages.ts";

type RuntimeData = TypedArray | Uint8Array;

/** What is used of onnxruntime-node (1.20 or later). */
interface RuntimeTensor {
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: RuntimeData;
}

interface RuntimeMetadata {
  name: string;
  type?: string;
  shape?: (number | string)[];
}

interface RuntimeSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly inputMetadata?: readonly RuntimeMetadata[];
  readonly outputMetadata?: readonly RuntimeMetadata[];
  run(feeds: Record<string, RuntimeTensor>): Promise<Record<string, RuntimeTensor>>;
  release(): Promise<void>;
}

interface Runtime {
  InferenceSession: { create(model: Uint8Array, options: object): Promise<RuntimeSession> };
  Tensor: new (type: string, data: RuntimeData, dims: readonly number[]) => RuntimeTensor;
}

const TYPES: Partial<Record<DType, string>> = {
  BOOL: "bool",
  F16: "float16",
  F32: "float32",
  F64: "float64",
  I16: "int16",
  I32: "int32",
  I64: "int64",
  I8: "int8",
  U16: "uint16",
  U32: "uint32",
  U64: "uint64",
  U8: "uint8",
};
const DTYPES = new Map(Object.entries(TYPES).map(([dtype, type]) => [type, dtype as DType]));

const port = parentPort!;
const { runtime: runtimePlace, threads } = workerData as SessionStart;

/** Loaded at once, while no model is there yet: that takes longer than building most sessions. */
const loading = import(runtimePlace) as Promise<Runtime & { default?: Runtime }>;

let session: RuntimeSession | undefined;

async function open({ model, external }: ModelBytes): Promise<void> {
  const loaded = await loading;
  const runtime = loaded.default ?? loaded;
  const options = { intraOpNumThreads: threads, interOpNumThreads: 1, executionMode: "sequential" };
  const externalData = external.length === 0 ? {} : { externalData: external };
  // The runtime wants a model in memory that is not shared; this copy is the thread's own and goes with the session.
  // External data it takes as they are, and copies them into the session.
  session = await runtime.InferenceSession.create(new Uint8Array(model), { ...options, ...externalData });
  port.postMessage({ opened: signatureOf(session) } satisfies SessionReply);
}

async function release(): Promise<void> {
  await session?.release();
  session = undefined;
  port.postMessage({ released: true } satisfies SessionReply);
}

async function run({ id, inputs }: RunRequest): Promise<void> {
  try {
    const loaded = await loading;
    const runtime = loaded.default ?? loaded;
    if (session === undefined) throw invalid("it is not open");
    const feeds = Object.entries(inputs).map(([name, tensor]) => [name, toRuntime(runtime, name, tensor)]);
    const results = await session.run(Object.fromEntries(feeds) as Record<string, RuntimeTensor>);
    const outputs = Object.fromEntries(
      Object.entries(results).map(([name, value]) => [name, fromRuntime(name, value)]),
    );
    const transfer = Object.values(outputs).map(({ data }) => data.buffer as ArrayBuffer);
    port.postMessage({ id, outputs } satisfies SessionReply, transfer);
  } catch (error) {
    port.postMessage({ id, error: toErrorRecord(runError(error)) } satisfies SessionReply);
  }
}

function toRuntime(runtime: Runtime, name: string, { dtype, shape, data }: Tensor): RuntimeTensor {
  const type = TYPES[dtype];
  if (type === undefined)
    throw invalid(`input ${JSON.stringify(name)} is of ${dtype}, which the runtime cannot take`);
  tensorSizeBytes(dtype, shape, name);
  return new runtime.Tensor(type, data, shape);
}

function fromRuntime(name: string, { type, dims, data }: RuntimeTensor): Tensor {
  const dtype = DTYPES.get(type);
  if (dtype === undefined)
    throw invalid(`output ${JSON.stringify(name)} is of ${type}, which is no tensor type here`);
  // Its own memory, so that it can be handed over.
  return { dtype, shape: [...dims], data: data.slice() };
}

function signatureOf(session: RuntimeSession): ModelSignature {
  const describe = (names: readonly string[], metadata: readonly RuntimeMetadata[] | undefined) =>
    names.map((name) => {
      const found = metadata?.find((each) => each.name === name);
      const shape = (found?.shape ?? []).map((axis) =>
        typeof axis === "number" && axis >= 0 ? axis : undefined,
      );
      return { name, type: found?.type ?? "unknown", shape };
    });
  return {
    inputs: describe(session.inputNames, session.inputMetadata),
    outputs: describe(session.outputNames, session.outputMetadata),
  };
}

function runError(error: unknown): unknown {
  return error instanceof StoreError
    ? error
    : invalid(error instanceof Error ? error.message : String(error));
}

function invalid(message: string): StoreError {
  return new StoreError("ERR_INVALID_ARGUMENT", `the model did not run: ${message}`);
}

loading.catch(() => {});
port.on("message", (request: SessionRequest) => {
  if (request === "release") release().catch(fail);
  else if ("open" in request) open(request.open).catch(fail);
  else void run(request);
});

function fail(error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  const failed = new StoreError("ERR_FORMAT_ONNX", `the model does not load: ${message}`);
  port.postMessage({ failed: toErrorRecord(failed) } satisfies SessionReply);
}
