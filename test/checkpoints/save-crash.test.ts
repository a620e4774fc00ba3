import { describe, expect, it } from "vitest";
import { crashStates } from "../../src/disk/crash-states.ts";
import { judge, type Note, runScenario } from "./save-scenario.ts";
import { seeded } from "./seeded.ts";

/**
 * Power fails at every write, sync and rename of random histories of saves, tags, prunes and collections.
 * `test/campaigns/save-crash.ts` does the same for as long as one likes.
 */
const cases = [
  { index: "kept", operations: 12, large: false, samples: 1, stride: 6 },
  { index: "rebuilt", operations: 12, large: false, samples: 1, stride: 6 },
  { index: "kept", operations: 4, large: true, samples: 1, stride: 8 },
] as const;

describe("power fails while checkpoints are saved", () => {
  for (const { index, operations, large, samples, stride } of cases) {
    const size = large ? "large" : "small";
    it(`keeps every durable version of ${size} models, with an index that is ${index}`, async () => {
      await seeded(async (random) => {
        const { disk, models } = await runScenario(random, index, { operations, large });
        let states = 0;
        for (const state of crashStates(disk, random, { samples, stride })) {
          states += 1;
          const { faults } = await judge(state.disk, index, state.marks as Note[], models);
          const at = `event ${state.events} (${state.inFlight?.kind ?? "between events"})`;
          expect(faults, at).toEqual([]);
        }
        // A sample of the events, of which chance may take few; what was said to be durable is always looked at.
        const said = disk.trace.filter(({ kind }) => kind === "mark").length;
        expect(said).toBeGreaterThan(0);
        expect(states).toBeGreaterThanOrEqual(said);
      });
    });
  }
});
