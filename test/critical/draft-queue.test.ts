import { describe, expect, it } from "vitest";
import { Draft } from "../../src/critical/draft.ts";
import { DraftQueue } from "../../src/critical/draft-queue.ts";

describe("the queue of drafts", () => {
  it("keeps their order when it grows in the middle of a round", () => {
    const queue = new DraftQueue();
    const expected: Draft[] = [];
    const push = () => {
      const draft = new Draft();
      queue.push(draft);
      expected.push(draft);
    };
    // More come than go: it fills up again and again with its first anywhere.
    for (let round = 0; round < 1000; round++) {
      for (let n = 0; n < 3; n++) push();
      expect(queue.first).toBe(expected[0]);
      for (let n = 0; n < 2; n++) expect(queue.shift()).toBe(expected.shift());
      expect(queue.length).toBe(expected.length);
      expect(queue.at(round >> 1)).toBe(expected[round >> 1]);
      expect(queue.at(-1)).toBeUndefined();
      expect(queue.at(expected.length)).toBeUndefined();
    }
    while (expected.length > 0) expect(queue.shift()).toBe(expected.shift());
    expect(queue.shift()).toBeUndefined();
    expect(queue.first).toBeUndefined();
    expect(queue.length).toBe(0);
  });
});
