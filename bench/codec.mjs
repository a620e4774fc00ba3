// Ratios and speeds of the codec on real checkpoints, beside XOR + byte planes + zstd-3.
//
//   npm run build && node bench/codec.mjs [store] [ratio] [entropy] [speed] [workers] [compact|fast]
//
// store: as saved through the library, and the same run under adverse conditions. ratio: chunk by chunk. entropy: the
// bound that the contexts set. speed: on one core. workers: saving and restoring with one and two threads.
//
// Data: VARVE_DATA (default ../shared/data beside the project); a set that is not there is skipped and named.
// Every chunk is decoded again and compared. Ratios count 100 bytes a chunk for its frame and manifest entry, and the
// checkpoint's header once. Speeds are per second of processor time, medians of
// interleaved runs on one core; compare ratios, not figures.
import { Buffer } from "node:buffer";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { encodingName, loadCodec } from "../dist/src/codec/codec.js";
import { loadZstd } from "../dist/src/codec/libraries.js";
import { CHUNK_ELEMENTS } from "../dist/src/limits.js";
import { boundOf } from "./lib/codec-entropy.mjs";
import { adversities, storeRatios } from "./lib/codec-store.mjs";
import { workerScaling } from "./lib/codec-workers.mjs";

const FRAME_BYTES = 100;
const root = fileURLToPath(new URL("..", import.meta.url));
const weights = join(process.env.VARVE_DATA ?? join(root, "../shared/data"), "weights");
const asked = new Set(process.argv.slice(2));
const MODES = ["store", "ratio", "entropy", "speed", "workers"];
const wants = (what) => !MODES.some((name) => asked.has(name)) || asked.has(what);
const profiles = ["compact", "fast"].filter(
  (name) => !["compact", "fast"].some((p) => asked.has(p)) || asked.has(name),
);

const SETS = [
  { set: "gpt-adamw", file: "model.safetensors", must: 1.4, aim: 1.43 },
  { set: "gpt-adamw", file: "model.bf16.safetensors", must: 2.4, aim: 2.47 },
  { set: "gpt-finetune", file: "model.bf16.safetensors", must: 4.2, aim: 4.8 },
  { set: "gpt-rl", file: "model.bf16.safetensors", must: 24, aim: 29 },
  { set: "fm-online", file: "model.safetensors", must: 25, aim: 30 },
  { set: "gpt-adamw-every-step", file: undefined, must: 3.0, aim: 3.4 },
];
const FIRST = { "model.safetensors": 1.19, "model.bf16.safetensors": 1.49 };
const ELEMENTS = { BF16: ["bf16", 2], F16: ["f16", 2], F32: ["f32", 4], F64: ["f64", 8], I64: ["i64", 8] };

const codec = await loadCodec();
const zstd = await loadZstd();

/** A trusted file's tensors in file order; the store's own reader is strict, this one only feeds the bench. */
function tensorsOf(path) {
  const file = readFileSync(path);
  const dataAt = 8 + Number(file.readBigUInt64LE(0));
  const { __metadata__: _, ...entries } = JSON.parse(file.subarray(8, dataAt).toString());
  const tensors = Object.values(entries)
    .map(({ dtype, data_offsets: [from, to] }) => ({
      dtype,
      from,
      bytes: file.subarray(dataAt + from, dataAt + to),
    }))
    .sort((a, b) => a.from - b.from);
  return { fileBytes: file.length, headerBytes: dataAt, tensors };
}

/** Chunks as a save makes them: large tensors cut from their start, small ones of one dtype together. */
function chunksOf({ tensors }) {
  const chunks = [];
  let small = [];
  const flush = () => {
    if (small.length > 0) {
      chunks.push({ dtype: small[0].dtype, bytes: Buffer.concat(small.map(({ bytes }) => bytes)) });
    }
    small = [];
  };
  for (const tensor of tensors) {
    const widthBytes = ELEMENTS[tensor.dtype][1];
    const chunkBytes = CHUNK_ELEMENTS * widthBytes;
    const smallBytes = small.reduce((sum, { bytes }) => sum + bytes.length, 0);
    if (tensor.bytes.length >= chunkBytes) {
      flush();
      for (let at = 0; at < tensor.bytes.length; at += chunkBytes) {
        chunks.push({ dtype: tensor.dtype, bytes: tensor.bytes.subarray(at, at + chunkBytes) });
      }
    } else {
      if (
        small.length > 0 &&
        (small[0].dtype !== tensor.dtype || smallBytes + tensor.bytes.length > chunkBytes)
      )
        flush();
      small.push(tensor);
    }
  }
  flush();
  return chunks;
}

/** One chunk through the codec and back; returns what it costs. */
function costOf(chunk, bases, profile, use) {
  const element = ELEMENTS[chunk.dtype][0];
  const { encoding, payload, basesUsed } = codec.encode({ bytes: chunk.bytes, element, bases, profile });
  const target = new Uint8Array(chunk.bytes.length);
  codec.decode({ encoding, element, payload, bases: bases.slice(0, basesUsed) }, target);
  if (Buffer.compare(target, chunk.bytes) !== 0) throw new Error(`${encodingName(encoding)} changed a chunk`);
  use.set(encodingName(encoding), (use.get(encodingName(encoding)) ?? 0) + 1);
  return payload.length + FRAME_BYTES;
}

/** XOR with the parent, byte planes, zstd-3: per tensor, in blocks of 256 KiB. */
function peerCost(tensor, parent) {
  const widthBytes = ELEMENTS[tensor.dtype][1];
  let sum = 0;
  for (let at = 0; at < tensor.bytes.length; at += 262144) {
    const bytes = Buffer.from(tensor.bytes.subarray(at, at + 262144));
    if (parent) for (let i = 0; i < bytes.length; i++) bytes[i] ^= parent.bytes[at + i];
    const count = bytes.length / widthBytes;
    const planes = Buffer.alloc(bytes.length);
    for (let i = 0; i < bytes.length; i++)
      planes[(i % widthBytes) * count + Math.floor(i / widthBytes)] = bytes[i];
    sum += zstd.encode(planes, 3).length;
  }
  return sum;
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const filesOf = (set, file) =>
  readdirSync(join(weights, set))
    .filter((name) => name.startsWith("step-"))
    .sort()
    .map((name) => (file ? join(weights, set, name, file) : join(weights, set, name)));

function ratios(profile) {
  for (const { set, file, must, aim } of SETS) {
    if (!existsSync(join(weights, set))) {
      console.log(`${set}: skipped, no ${join(weights, set)}`);
      continue;
    }
    const versions = filesOf(set, file).map(tensorsOf);
    const chunks = versions.map(chunksOf);
    const use = new Map();
    const ours = [];
    const peers = [];
    for (let v = 1; v < versions.length; v++) {
      const cost = chunks[v].map((chunk, i) => {
        const bases = [chunks[v - 1][i].bytes, ...(v > 1 ? [chunks[v - 2][i].bytes] : [])];
        return costOf(chunk, bases, profile, use);
      });
      ours.push(versions[v].fileBytes / cost.reduce((sum, bytes) => sum + bytes, 0));
      const peer = versions[v].tensors.map((tensor, i) => peerCost(tensor, versions[v - 1].tensors[i]));
      peers.push(versions[v].fileBytes / peer.reduce((sum, bytes) => sum + bytes, 0));
    }
    const by = [...use].map(([name, count]) => `${name} ${count}`).join(", ");
    console.log(
      `${profile.padEnd(8)}${set.padEnd(22)}${chunks[0][0].dtype.padEnd(6)}${mean(ours).toFixed(3).padStart(8)}` +
        `  peer ${mean(peers).toFixed(3).padStart(7)}  must ${must} aim ${aim}  [${ours.map((r) => r.toFixed(2)).join(" ")}] ${by}`,
    );
    if (!FIRST[file] || set !== "gpt-adamw") continue;
    use.clear();
    const first = chunks[0]
      .map((chunk) => costOf(chunk, [], profile, use))
      .reduce((sum, bytes) => sum + bytes, 0);
    const peer = versions[0].tensors.map((tensor) => peerCost(tensor)).reduce((sum, bytes) => sum + bytes, 0);
    console.log(
      `${profile.padEnd(8)}${"  first version".padEnd(22)}${chunks[0][0].dtype.padEnd(6)}` +
        `${(versions[0].fileBytes / first).toFixed(3).padStart(8)}  peer ${(versions[0].fileBytes / peer).toFixed(3).padStart(7)}` +
        `  must ${FIRST[file]}  ${[...use].map(([name, count]) => `${name} ${count}`).join(", ")}`,
    );
  }
}

/** Each set's residual payloads beside the entropy of what they say. */
function entropies() {
  const floats = {
    BF16: { widthBytes: 2, mantissaBits: 7, exponentMask: 255 },
    F32: { widthBytes: 4, mantissaBits: 23, exponentMask: 255 },
  };
  for (const { set, file } of SETS) {
    if (!existsSync(join(weights, set))) continue;
    const chunks = filesOf(set, file).map((path) => chunksOf(tensorsOf(path)));
    let bound = 0;
    let stored = 0;
    let raw = 0;
    for (let v = 1; v < chunks.length; v++) {
      for (const [i, { dtype, bytes }] of chunks[v].entries()) {
        const bases = [chunks[v - 1][i].bytes, ...(v > 1 ? [chunks[v - 2][i].bytes] : [])];
        const encoded = codec.encode({ bytes, element: ELEMENTS[dtype][0], bases, profile: "compact" });
        if (encodingName(encoded.encoding) !== "residual") continue;
        const { boundBits, payloadBits } = boundOf({
          payload: encoded.payload,
          bytes,
          bases,
          ...floats[dtype],
        });
        bound += boundBits;
        stored += payloadBits;
        raw += bytes.length * 8;
      }
    }
    console.log(
      `${set.padEnd(22)}${chunks[0][0].dtype.padEnd(6)} bound ${(raw / bound).toFixed(3).padStart(7)}` +
        `  stored ${(raw / stored).toFixed(3).padStart(7)}  above the bound ${((stored / bound - 1) * 100).toFixed(2)} %`,
    );
  }
}

/** Microseconds of processor time: on a shared machine the clock on the wall measures the neighbours. */
const processorUs = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

/** MB/s of raw data, encode and decode, for each way of coding, interleaved. */
function speeds() {
  const cases = [
    ["gpt-adamw", "model.bf16.safetensors", true],
    ["gpt-adamw", "model.bf16.safetensors", false],
    ["gpt-finetune", "model.bf16.safetensors", true],
    ["gpt-rl", "model.bf16.safetensors", true],
    ["gpt-adamw", "model.safetensors", true],
    ["gpt-adamw", "model.safetensors", false],
    ["fm-online", "model.safetensors", true],
  ];
  for (const [set, file, hasParent] of cases) {
    if (!existsSync(join(weights, set))) {
      console.log(`${set}: skipped, no ${join(weights, set)}`);
      continue;
    }
    const versions = filesOf(set, file)
      .slice(-3)
      .map((path) => chunksOf(tensorsOf(path)));
    const last = versions.length - 1;
    const jobs = versions[last].map((chunk, i) => ({
      bytes: chunk.bytes,
      element: ELEMENTS[chunk.dtype][0],
      bases: hasParent ? [versions[last - 1][i].bytes, versions[last - 2][i].bytes] : [],
    }));
    const sizeBytes = jobs.reduce((sum, { bytes }) => sum + bytes.length, 0);
    const tiles = Math.ceil((Number(process.env.VARVE_BENCH_MB ?? 256) * 1e6) / sizeBytes / 5);
    const ways = profiles.map((profile) => ({ name: profile, encode: [], decode: [], profile }));
    const peer = { name: "zstd-3 on the same planes", encode: [], decode: [] };
    const planes = jobs.map((job) => planesOf(job));
    for (let round = 0; round < 5; round++) {
      for (const way of ways) timeCodec(way, jobs, tiles, sizeBytes);
      timeZstd(peer, planes, Math.max(1, tiles >> 2), sizeBytes);
    }
    console.log(`${set} ${jobs[0].element} ${hasParent ? "against its parent" : "alone"}`);
    for (const { name, encode, decode } of [...ways, peer]) {
      console.log(
        `  ${name.padEnd(28)} encode ${median(encode).toFixed(0).padStart(6)} MB/s   decode ${median(decode).toFixed(0).padStart(6)} MB/s`,
      );
    }
  }
}

function timeCodec(way, jobs, tiles, sizeBytes) {
  let encoded;
  let start = processorUs();
  for (let tile = 0; tile < tiles; tile++)
    for (const job of jobs) encoded = codec.encode({ ...job, profile: way.profile });
  way.encode.push((sizeBytes * tiles) / (processorUs() - start));
  // A payload lasts until the next call: those to decode are copied, outside the clock.
  encoded = jobs.map((job) => {
    const { payload, ...rest } = codec.encode({ ...job, profile: way.profile });
    return { ...rest, payload: payload.slice() };
  });
  const targets = jobs.map(({ bytes }) => new Uint8Array(bytes.length));
  start = processorUs();
  for (let tile = 0; tile < tiles; tile++) {
    for (const [i, { encoding, payload, basesUsed }] of encoded.entries()) {
      const { element, bases } = jobs[i];
      codec.decode({ encoding, element, payload, bases: bases.slice(0, basesUsed) }, targets[i]);
    }
  }
  way.decode.push((sizeBytes * tiles) / (processorUs() - start));
}

function planesOf({ bytes, element, bases: [base] }) {
  const widthBytes = Object.values(ELEMENTS).find(([name]) => name === element)[1];
  const count = bytes.length / widthBytes;
  const planes = Buffer.alloc(bytes.length);
  for (let i = 0; i < bytes.length; i++) {
    planes[(i % widthBytes) * count + Math.floor(i / widthBytes)] = bytes[i] ^ (base ? base[i] : 0);
  }
  return planes;
}

function timeZstd(peer, planes, tiles, sizeBytes) {
  let start = processorUs();
  let encoded;
  for (let tile = 0; tile < tiles; tile++) encoded = planes.map((bytes) => zstd.encode(bytes, 3));
  peer.encode.push((sizeBytes * tiles) / (processorUs() - start));
  start = processorUs();
  for (let tile = 0; tile < tiles; tile++) {
    for (const [i, payload] of encoded.entries()) zstd.decode(payload, planes[i].length);
  }
  peer.decode.push((sizeBytes * tiles) / (processorUs() - start));
}

if (wants("store")) {
  await storeRatios(SETS, weights, filesOf);
  const everyStep = "gpt-adamw-every-step";
  if (existsSync(join(weights, everyStep))) await adversities(everyStep, filesOf(everyStep));
}
if (wants("entropy")) entropies();
if (wants("workers")) await workerScaling(filesOf("gpt-adamw", "model.bf16.safetensors"), weights);
if (wants("ratio")) for (const profile of profiles) ratios(profile);
if (wants("speed")) speeds();
