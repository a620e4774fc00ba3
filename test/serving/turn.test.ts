import { afterEach, describe, expect, it, vi } from "vitest";
import { Turn } from "../../checkpoints/serving/turn.ts";

afterEach(() => vi.restoreAllMocks());

describe("answers of a model's thread", () => {
  it("are handed on at once until the turn has gone on for too long, then in later turns, in order", async () => {
    let nowMs = 100;
    vi.spyOn(performance, "now").mockImplementation(() => nowMs);
    const turn = new Turn();
    const log: string[] = [];
    const others = new Promise<void>((resolve) =>
      setImmediate(() => {
        log.push("others");
        resolve();
      }),
    );
    // Each answer takes a millisecond, as one whose caller asks again does.
    for (let i = 0; i < 8; i++) {
      turn.hand(() => {
        log.push(`answer ${i}`);
        nowMs += 1;
      });
    }
    expect(log).toEqual(["answer 0", "answer 1", "answer 2"]);
    await others;
    while (log.length < 9) await new Promise(setImmediate);
    expect(log.slice(3)).toEqual(["others", ...[3, 4, 5, 6, 7].map((i) => `answer ${i}`)]);
    // A turn of its own again.
    turn.hand(() => log.push("later"));
    expect(log.at(-1)).toBe("later");
  });
});
