import { closeSync, constants, fsyncSync, openSync, rmSync, writeSync } from "node:fs";
import { open } from "node:fs/promises";

/** 64 equal tensors of `megabytes` together, filled like weights. */
export function allocateModel(store, megabytes, tensors = 64) {
  const elements = Math.floor((megabytes * 1e6) / 4 / tensors);
  const specs = Object.fromEntries(
    Array.from({ length: tensors }, (_, i) => [`layer.${i}`, { dtype: "F32", shape: [elements] }]),
  );
  const model = store.checkpoints.allocate(specs);
  const random = generator(1);
  for (const { data } of Object.values(model)) {
    for (let i = 0; i < data.length; i++) data[i] = (random() / 2 ** 32 - 0.5) * 0.1;
  }
  return model;
}

/** Whole numbers below 2^32, the same every time. */
export function generator(seed) {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

export const median = (values) => quantile(values, 0.5);
export const ms = (value) => `${value < 10 ? value.toFixed(2) : value.toFixed(0)} ms`;

export function spread(values) {
  return `${ms(median(values))} median, ${ms(quantile(values, 0.9))} p90, ${ms(Math.max(...values))} max`;
}

/** What a save costs at least: the tensors written to a new file and synced, through the page cache or around it. */
export function plainSave(model, path, { aside = false } = {}) {
  rmSync(path, { force: true });
  const { O_CREAT, O_WRONLY, O_DIRECT } = constants;
  const start = performance.now();
  const fd = openSync(path, O_CREAT | O_WRONLY | (aside ? O_DIRECT : 0), 0o644);
  for (const { data } of Object.values(model)) writeWhole(fd, data, aside ? 4096 : 1);
  fsyncSync(fd);
  closeSync(fd);
  return performance.now() - start;
}

/** What a program without a store does: `writeFile` of tensor after tensor into a new file, then fsync. */
export async function writeFileSave(model, path) {
  rmSync(path, { force: true });
  const start = performance.now();
  const file = await open(path, "w");
  for (const { data } of Object.values(model)) await file.writeFile(data);
  await file.sync();
  await file.close();
  return performance.now() - start;
}

/** With O_DIRECT whole blocks alone: what is left of a tensor is less than one. */
function writeWhole(fd, data, blockBytes) {
  const sizeBytes = data.byteLength - (data.byteLength % blockBytes);
  const bytes = new Uint8Array(data.buffer, data.byteOffset, sizeBytes);
  for (let at = 0; at < sizeBytes; ) at += writeSync(fd, bytes, at, Math.min(1 << 24, sizeBytes - at));
}

/** Works for so many milliseconds without giving the event loop a turn, as a training step does; counts its rounds. */
export function compute(durationMs) {
  const until = performance.now() + durationMs;
  let rounds = 0;
  let value = 1;
  while (performance.now() < until) {
    for (let i = 0; i < 10_000; i++) value = Math.sqrt(value + i);
    rounds += 1;
  }
  return value > 0 ? rounds : 0;
}
