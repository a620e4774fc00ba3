// One start of a process: `node capture-start.child.mjs bare|pin|image|chunks STORE`; ends as soon as the model was read.
const [what, directory] = process.argv.slice(2);
if (what !== "bare") {
  const { openStore } = await import("../../dist/index.js");
  const store = await openStore(directory);
  const tensors =
    what === "pin" ? (await store.checkpoints.pin("image")).tensors : await store.checkpoints.restore(what);
  let sum = 0;
  for (const { data } of tensors.values()) for (let i = 0; i < data.length; i += 1024) sum += data[i];
  if (Number.isNaN(sum)) throw new Error("a weight is not a number");
}
process.exit(0);
