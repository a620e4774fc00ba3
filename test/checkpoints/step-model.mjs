import { createHash } from "node:crypto";

/** A small model that is a function of its step alone, each one a little different from the one before. */
export function modelOf(step, elements = 20_000) {
  const weights = new Float32Array(elements);
  for (let i = 0; i < elements; i++) weights[i] = Math.sin(i) + (i % 97 === step % 97 ? step / 1000 : 0);
  const steady = Uint8Array.from({ length: 5000 }, (_, i) => (i * 31) & 255);
  const small = Float32Array.of(step, step / 3, -step);
  return new Map([
    ["weights", { dtype: "F32", shape: [elements], data: weights }],
    ["steady", { dtype: "U8", shape: [5000], data: steady }],
    ["small", { dtype: "F32", shape: [3], data: small }],
  ]);
}

/** What a version of this step must hold, as store.child.mjs says it. */
export function digestOfStep(step) {
  const hash = createHash("sha256");
  const model = modelOf(step);
  for (const name of [...model.keys()].sort()) {
    const { data } = model.get(name);
    hash.update(name).update(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  }
  return hash.digest("hex");
}
