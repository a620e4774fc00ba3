import { describe, expect, it } from "vitest";
import { tensorBytes } from "../../formats/tensor.ts";
import { crashStates } from "../../src/disk/crash-states.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { seeded } from "../checkpoints/seeded.ts";
import { openSimulated } from "../checkpoints/simulated-store.ts";

const unpaced = { ioBudget: Number.POSITIVE_INFINITY };

describe("power fails while images are written and replaced", () => {
  it("leaves a whole image or none, and the version in either case", async () => {
    await seeded(async (random) => {
      const disk = new SimulatedDisk({ trace: true, seed: random.next() });
      const store = await openSimulated(disk, "kept", unpaced);
      const model = store.checkpoints.allocate({
        a: { dtype: "F32", shape: [3000] },
        b: { dtype: "U8", shape: [5] },
      });
      const saved: Buffer[] = [];
      for (let version = 1; version <= 2; version++) {
        random.fill(tensorBytes(model.a));
        saved.push(Buffer.from(tensorBytes(model.a)));
        await store.checkpoints.save("m", model).durable;
        await (await store.checkpoints.pin("m")).imaged;
      }
      await store.close();
      const sources = new Set<string>();
      // Every event is looked at: a random third of so short a trace can leave out all that came after the first image.
      for (const state of crashStates(disk, random)) {
        const reopened = await openSimulated(state.disk, "kept", unpaced);
        if (reopened.checkpoints.refs().length > 0) {
          const pinned = await reopened.checkpoints.pin("m");
          sources.add(pinned.source);
          expect(saved[pinned.version - 1]!.equals(tensorBytes(pinned.tensors.get("a")!))).toBe(true);
          await pinned.imaged;
          const again = await reopened.checkpoints.pin("m");
          // Without a file to map, it is read, and checked on the way.
          expect(again.source).toBe("read");
          expect(saved[again.version - 1]!.equals(tensorBytes(again.tensors.get("a")!))).toBe(true);
        }
        await reopened.close();
      }
      expect([...sources].sort()).toEqual(["chunks", "read"]);
    });
  });
});
