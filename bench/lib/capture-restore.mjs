import { spawnSync } from "node:child_process";
import { closeSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openStore } from "../../dist/index.js";
import { allocateModel, median, ms, plainSave } from "./capture-model.mjs";
import { withDirectory } from "./places.mjs";

const unpaced = { create: true, ioBudget: Number.POSITIVE_INFINITY };

/** 1 GB warm into tensors that exist: from chunks, from a pinned image, and the floor, readSync of the same bytes. */
export async function restore({ say, megabytes = 1000, rounds = 5 }) {
  return withDirectory(async (directory) => {
    const store = await openStore(`${directory}/store`, unpaced);
    const model = allocateModel(store, megabytes);
    await store.checkpoints.save("chunks", model, { profile: "fast" }).durable;
    await store.checkpoints.save("image", model, { profile: "fast" }).durable;
    await (await store.checkpoints.pin("image")).imaged;
    plainSave(model, `${directory}/plain`);
    const times = { chunks: [], image: [], readSync: [], map: [], touch: [] };
    for (let round = 0; round < rounds; round++) {
      say(`round ${round + 1}`);
      for (const ref of ["chunks", "image"]) {
        const start = performance.now();
        await store.checkpoints.restoreInto(ref, model);
        times[ref].push(performance.now() - start);
      }
      const start = performance.now();
      readInto(`${directory}/plain`, model);
      times.readSync.push(performance.now() - start);
      const mapped = performance.now();
      const pinned = await store.checkpoints.pin("image");
      times.map.push(performance.now() - mapped);
      let sum = 0;
      for (const { data } of pinned.tensors.values())
        for (let i = 0; i < data.length; i += 1024) sum += data[i];
      times.touch.push(performance.now() - mapped);
      if (Number.isNaN(sum)) throw new Error("a weight is not a number");
      await pinned.verified;
    }
    const imageFile = join(`${directory}/store/images`, readdirSync(`${directory}/store/images`)[0]);
    const imageBytes = statSync(imageFile).size;
    await store.close();
    const ratio = (what) => (median(times[what]) / median(times.readSync)).toFixed(2);
    return {
      "readSync into the same tensors": ms(median(times.readSync)),
      "restoreInto from an image, every range checked": `${ms(median(times.image))} (${ratio("image")} x readSync)`,
      "restoreInto from chunks": `${ms(median(times.chunks))} (${ratio("chunks")} x readSync)`,
      "pin: mapped": ms(median(times.map)),
      "pin: mapped and every page touched": ms(median(times.touch)),
      "image bytes": imageBytes,
    };
  });
}

function readInto(path, model) {
  const fd = openSync(path, "r");
  for (const { data } of Object.values(model)) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    for (let at = 0; at < bytes.byteLength; )
      at += readSync(fd, bytes, at, Math.min(1 << 20, bytes.byteLength - at), null);
  }
  closeSync(fd);
}

/** From the start of a process to a model that can be read: pinned, from chunks, and a bare process as the floor. */
export async function start({ say, megabytes = 100, rounds = 5 }) {
  return withDirectory(async (directory) => {
    const store = await openStore(`${directory}/store`, unpaced);
    const model = allocateModel(store, megabytes, 8);
    await store.checkpoints.save("chunks", model).durable;
    await store.checkpoints.save("image", model).durable;
    await (await store.checkpoints.pin("image")).imaged;
    await store.close();
    const child = fileURLToPath(new URL("capture-start.child.mjs", import.meta.url));
    const times = { bare: [], pin: [], image: [], chunks: [] };
    for (let round = 0; round < rounds; round++) {
      say(`round ${round + 1}`);
      for (const what of Object.keys(times)) {
        const begin = performance.now();
        const { status, stderr } = spawnSync(process.execPath, [child, what, `${directory}/store`]);
        if (status !== 0) throw new Error(String(stderr));
        times[what].push(performance.now() - begin);
      }
    }
    const bare = median(times.bare);
    const line = (what) =>
      `${ms(median(times[what]))} (${(median(times[what]) / bare).toFixed(1)} x a bare process)`;
    return {
      "bare Node process": ms(bare),
      [`${megabytes} MB pinned, mapped, every page touched`]: line("pin"),
      [`${megabytes} MB restored from its image`]: line("image"),
      [`${megabytes} MB restored from chunks`]: line("chunks"),
    };
  });
}
