import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { openStore } from "../../open-store.ts";

/**
 * Weights that are one number everywhere make chunks that are all alike. The second save's first job had to load a codec
 * for the file's header, another job of that thread overtook it, and the chunk's frame came with the wrong answer.
 */
it("saves tensors whose chunks are all alike, again and again", async () => {
  const directory = mkdtempSync(join(tmpdir(), "varve-alike-"));
  const store = await openStore(join(directory, "store"), { create: true, workers: 2 });
  try {
    const tensors = store.checkpoints.allocate({ w: { dtype: "F32", shape: [1024, 1024] } });
    for (let version = 1; version <= 4; version++) {
      (tensors.w.data as Float32Array).fill(version);
      expect((await store.checkpoints.save("alike", tensors).durable).version).toBe(version);
    }
    for (let version = 1; version <= 4; version++) {
      const restored = await store.checkpoints.restore(`alike@${version}`);
      expect((restored.get("w")!.data as Float32Array).every((value) => value === version)).toBe(true);
    }
  } finally {
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  }
});
