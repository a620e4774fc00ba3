/**
 * Crash states of random histories, for as long as one likes:
 *
 *     ROUNDS=50 npx vitest run --config test/campaigns/vitest.config.ts save-crash
 *
 * `VARVE_SEED` fixes the first round's seed; each failure prints its own.
 */
import { expect, it } from "vitest";
import { crashStates } from "../../src/disk/crash-states.ts";
import { Random } from "../../src/disk/random.ts";
import type { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { judge, type Note, runScenario } from "../checkpoints/save-scenario.ts";
import { seed } from "../checkpoints/seeded.ts";
import { openSimulated } from "../checkpoints/simulated-store.ts";

const rounds = Number(process.env["ROUNDS"] ?? 20);

/** Power fails once more while what the first failure left is being opened, collected and saved to. */
async function crashAgain(
  disk: SimulatedDisk,
  index: "kept" | "rebuilt",
  notes: readonly Note[],
): Promise<void> {
  const store = await openSimulated(disk, index, { create: notes.length === 0 });
  await store.gc();
  await store.close();
}

it("keeps every durable version, whenever power fails", async () => {
  let states = 0;
  let again = 0;
  for (let round = 0; round < rounds; round++) {
    const random = new Random(seed + round);
    const index = round % 2 === 0 ? "kept" : "rebuilt";
    const large = round % 5 === 4;
    const { disk, models } = await runScenario(random, index, { operations: large ? 6 : 16, large });
    for (const state of crashStates(disk, random, { samples: 2, disk: { trace: true } })) {
      const notes = [...state.marks] as Note[];
      const at = `VARVE_SEED=${seed + round}, event ${state.events} (${state.inFlight?.kind ?? "between events"})`;
      if (random.below(8) === 0) {
        await crashAgain(state.disk, index, notes);
        for (const second of crashStates(state.disk, random, { samples: 1, stride: 4 })) {
          again += 1;
          expect((await judge(second.disk, index, notes, models)).faults, `${at}, and again`).toEqual([]);
        }
        continue;
      }
      states += 1;
      expect((await judge(state.disk, index, notes, models)).faults, at).toEqual([]);
    }
    console.log(`round ${round + 1} of ${rounds}: ${states} crash states, ${again} of a second crash`);
  }
});
