// A synthetic checkpoint of a given size: half f32, half bf16, tensors of 16 MiB, normally distributed weights with a
// standard deviation of 0.02; and versions of it with a small change.
import { closeSync, openSync, writeSync } from "node:fs";

const TENSOR_BYTES = 16 << 20;
const DEVIATION = 0.02;
/** How far an update moves a weight: a thousandth of the weights' own deviation. */
const STEP = DEVIATION / 1000;
/** A run of elements that changes as one: what varve stores as one chunk. */
const RUN_ELEMENTS = 65_536;

export const CHANGES = ["every weight", "1 % of weights", "1 % of chunks"];

/** mulberry32, seeded, for figures that can be repeated; normality of the deviates is all that matters here. */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 4294967296;
  };
}

/** Fills `out` with normal deviates (Box and Muller 1958). */
function normals(out, next) {
  for (let i = 0; i < out.length; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - next()));
    const angle = 2 * Math.PI * next();
    out[i] = radius * Math.cos(angle);
    if (i + 1 < out.length) out[i + 1] = radius * Math.sin(angle);
  }
}

/** Rounds f32 to bf16, ties to even; no NaN occurs here. */
function toBf16(values) {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) out[i] = (bits[i] + 0x7fff + ((bits[i] >>> 16) & 1)) >>> 16;
  return out;
}

function plan(megabytes) {
  const count = Math.max(2, Math.round((megabytes * 1e6) / TENSOR_BYTES));
  return Array.from({ length: count }, (_, i) => {
    const dtype = i % 2 === 0 ? "F32" : "BF16";
    const elements = TENSOR_BYTES / (dtype === "F32" ? 4 : 2);
    return {
      name: `layers.${i >> 1}.${dtype === "F32" ? "master" : "weight"}`,
      dtype,
      shape: [elements / 2048, 2048],
    };
  });
}

function header(tensors, step) {
  const entries = tensors.map(({ name, dtype, shape }, i) => [
    name,
    { dtype, shape, data_offsets: [i * TENSOR_BYTES, (i + 1) * TENSOR_BYTES] },
  ]);
  let text = JSON.stringify({ __metadata__: { step: `${step}` }, ...Object.fromEntries(entries) });
  text += " ".repeat((8 - (text.length % 8)) % 8);
  const bytes = Buffer.alloc(8 + text.length);
  bytes.writeBigUInt64LE(BigInt(text.length), 0);
  bytes.write(text, 8, "latin1");
  return bytes;
}

/** Moves weights of one tensor by normally distributed steps, as `change` says. */
function move(values, change, next, deviates) {
  normals(deviates, next);
  if (change === "every weight") {
    for (let i = 0; i < values.length; i++) values[i] += STEP * deviates[i % deviates.length];
  } else if (change === "1 % of weights") {
    for (let i = 0; i < values.length / 100; i++) {
      values[Math.floor(next() * values.length)] += STEP * deviates[i % deviates.length];
    }
  } else {
    for (let at = 0; at < values.length; at += RUN_ELEMENTS) {
      if (next() >= 0.01) continue;
      for (let i = at; i < at + RUN_ELEMENTS; i++) values[i] += STEP * deviates[i % deviates.length];
    }
  }
}

/** Writes the first version and one for each kind of change; `paths` maps them, the first under `"first"`. */
export function writeCheckpoints(megabytes, paths) {
  const tensors = plan(megabytes);
  const names = ["first", ...CHANGES];
  const files = new Map(names.map((name) => [name, openSync(paths[name], "w")]));
  for (const [i, name] of names.entries()) writeSync(files.get(name), header(tensors, i === 0 ? 100 : 200));
  const next = random(1);
  const deviates = new Float32Array(1 << 20);
  for (const { dtype, shape } of tensors) {
    const weights = new Float32Array(shape[0] * shape[1]);
    normals(weights, next);
    for (let i = 0; i < weights.length; i++) weights[i] *= DEVIATION;
    const write = (name, values) => {
      const bytes = dtype === "F32" ? values : toBf16(values);
      writeSync(files.get(name), new Uint8Array(bytes.buffer));
    };
    write("first", weights);
    for (const change of CHANGES) {
      const moved = weights.slice();
      move(moved, change, next, deviates);
      write(change, moved);
    }
  }
  for (const file of files.values()) closeSync(file);
}
