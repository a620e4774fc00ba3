/** Serves a version and runs it with nothing else that would keep the process alive, and prints the answer. */
import { openStore } from "../../dist/index.js";

const [directory, runtime] = process.argv.slice(2);
const store = await openStore(directory);
const model = await store.checkpoints.serve("m", { onnx: true, runtime });
const x = { dtype: "F32", shape: [256], data: new Float32Array(256).fill(2) };
const { outputs } = await model.run({ x });
console.log(outputs.y.data[0]);
