// A thread that does nothing but encode and decode chunks in its own memory: what the machine gives two of them.
import { parentPort, workerData } from "node:worker_threads";
import { loadCodec } from "../../dist/src/codec/codec.js";
import { CHUNK_ELEMENTS } from "../../dist/src/limits.js";

const codec = await loadCodec();
const { files, sizeBytes } = workerData;
const dataAt = 8 + Number(Buffer.from(files[0].buffer, files[0].byteOffset, 8).readBigUInt64LE(0));
const [parent, child] = files.map((file) => file.slice(dataAt));
const chunkBytes = CHUNK_ELEMENTS * 2;
const target = new Uint8Array(chunkBytes);

/** One pass over the child until so many bytes were coded against the parent, and back. */
function work() {
  let doneBytes = 0;
  while (doneBytes < sizeBytes) {
    for (let at = 0; at + chunkBytes <= child.length && doneBytes < sizeBytes; at += chunkBytes) {
      const bytes = child.subarray(at, at + chunkBytes);
      const bases = [parent.subarray(at, at + chunkBytes)];
      const { encoding, payload, basesUsed } = codec.encode({
        bytes,
        element: "bf16",
        bases,
        profile: "compact",
      });
      const input = { encoding, element: "bf16", payload: payload.slice(), bases: bases.slice(0, basesUsed) };
      codec.decode(input, target.subarray(0, bytes.length));
      doneBytes += bytes.length;
    }
  }
}

work();
parentPort.postMessage("ready");
parentPort.on("message", () => {
  const start = performance.now();
  work();
  parentPort.postMessage(performance.now() - start);
});
