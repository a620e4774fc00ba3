// Ratios as a user gets them: every version saved through the library, from `storedBytes` and from what the packs
// and the log grew by on the disk, each version restored and compared.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { safetensorsFile } from "../../dist/formats/safetensors/writer.js";
import { openStore } from "../../dist/index.js";

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function treeBytes(path) {
  if (!existsSync(path)) return 0;
  if (!statSync(path).isDirectory()) return statSync(path).size;
  return readdirSync(path).reduce((sum, name) => sum + treeBytes(join(path, name)), 0);
}

/** Saves files in order as versions of one ref; throws unless all of them come back byte for byte. */
export async function saveRun(files, optionsOf = () => ({})) {
  const directory = mkdtempSync(join(process.env.VARVE_BENCH_DIR ?? tmpdir(), "varve-codec-"));
  const store = await openStore(join(directory, "store"), { create: true });
  const grown = () =>
    treeBytes(join(directory, "store/chunks/packs")) + treeBytes(join(directory, "store/versions/log"));
  const ratios = [];
  try {
    for (const [i, file] of files.entries()) {
      const before = grown();
      const { logicalBytes, storedBytes } = await store.checkpoints.saveFiles("run", [file], optionsOf(i));
      ratios.push({ stored: logicalBytes / storedBytes, disk: logicalBytes / (grown() - before) });
    }
    for (const [i, file] of files.entries()) {
      const out = join(directory, `out-${i}`);
      await store.checkpoints.restoreFiles(`run@${i + 1}`, { out });
      if (!readFileSync(out).equals(readFileSync(file))) throw new Error(`${file} came back changed`);
    }
  } finally {
    await store.close();
    rmSync(directory, { recursive: true });
  }
  const later = ratios.slice(1);
  return {
    first: ratios[0].stored,
    stored: mean(later.map(({ stored }) => stored)),
    disk: mean(later.map(({ disk }) => disk)),
  };
}

const line = (name, { first, stored, disk }, notes) =>
  console.log(
    `${name.padEnd(44)}${first.toFixed(3).padStart(7)}${stored.toFixed(3).padStart(9)}${disk.toFixed(3).padStart(9)}  ${notes}`,
  );

export async function storeRatios(sets, weights, filesOf) {
  console.log(
    `${"saved through the library".padEnd(44)}  first   stored     disk  (means over consecutive pairs)`,
  );
  for (const { set, file, must, aim } of sets) {
    if (!existsSync(join(weights, set))) {
      console.log(`${set}: skipped, no ${join(weights, set)}`);
      continue;
    }
    line(`${set} ${file ?? ""}`, await saveRun(filesOf(set, file)), `must ${must} aim ${aim}`);
  }
}

/** The same run under conditions that may cost bytes, and must not cost a bit. */
export async function adversities(set, files) {
  const directory = mkdtempSync(join(tmpdir(), "varve-codec-files-"));
  const rewritten = (name, change) =>
    files.map((file, i) => {
      const path = join(directory, `${name}-${i}.safetensors`);
      writeFileSync(path, change(tensorsIn(readFileSync(file)), i));
      return path;
    });
  const renamed = ({ tensors, metadata }, i) =>
    safetensorsFile(
      new Map([...tensors].map(([name, tensor]) => [i % 2 ? `model.${name}` : name, tensor])),
      metadata,
    );
  const shuffled = ({ tensors, metadata }, i) => reordered(tensors, metadata, i);
  const reshaped = ({ tensors, metadata }, i) =>
    safetensorsFile(
      new Map(
        [...tensors].map(([name, tensor]) => [
          name,
          i % 2 ? { ...tensor, shape: [1, ...tensor.shape] } : halved(tensor),
        ]),
      ),
      metadata,
    );
  try {
    line(`${set}: as it is`, await saveRun(files), "");
    line("  wrong learning rate", await saveRun(files, () => ({ optimizer: { lr: 0.5 } })), "");
    line(
      "  everything wrong",
      await saveRun(files, () => ({
        optimizer: { lr: 0.5, betas: [0.5, 0.5], eps: 1, weightDecay: 3, step: 1 },
      })),
      "",
    );
    line("  tensors renamed every other version", await saveRun(rewritten("renamed", renamed)), "");
    line("  tensors in another order each time", await saveRun(rewritten("shuffled", shuffled)), "");
    line("  parent of another shape", await saveRun(rewritten("reshaped", reshaped)), "");
    line("  every other version left out", await saveRun(files.filter((_, i) => i % 2 === 0)), "");
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function tensorsIn(file) {
  const dataAt = 8 + Number(file.readBigUInt64LE(0));
  const { __metadata__: metadata = {}, ...entries } = JSON.parse(file.subarray(8, dataAt).toString());
  const tensors = new Map(
    Object.entries(entries).map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [from, to],
        },
      ]) => [name, { dtype, shape, data: new Uint8Array(file.subarray(dataAt + from, dataAt + to)) }],
    ),
  );
  return { tensors, metadata: new Map(Object.entries(metadata)) };
}

/** Half the rows of a tensor that has them. */
function halved(tensor) {
  const [rows = 1, ...rest] = tensor.shape;
  if (rows < 2 || rows % 2 === 1) return tensor;
  return { ...tensor, shape: [rows / 2, ...rest], data: tensor.data.slice(0, tensor.data.length / 2) };
}

/** A file of the same tensors in an order that depends on `seed`; the library's own writer would sort them. */
function reordered(tensors, metadata, seed) {
  const order = [...tensors]
    .map((entry, i) => [((i + 1) * (seed + 2) * 7919) % 104_729, entry])
    .sort((a, b) => a[0] - b[0]);
  const header = { __metadata__: Object.fromEntries(metadata) };
  let offset = 0;
  const parts = order.map(([, [name, { dtype, shape, data }]]) => {
    header[name] = { dtype, shape, data_offsets: [offset, offset + data.length] };
    offset += data.length;
    return data;
  });
  const text = JSON.stringify(header);
  const padded = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded, ...parts]);
}
