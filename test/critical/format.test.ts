import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { readRecord } from "../../src/critical/record-reader.ts";
import { State } from "../../src/critical/state.ts";
import { isStoreError } from "../../src/errors.ts";
import { openTestStore } from "./store.ts";

/** The worked example of docs/formats/critical.md. */
const RECORD =
  "010105010600 6c696d697473 01010300 425443 0110 de0001a36d6178 d30000000000000005 06010500 6e6f6e6365" +
  "0701 0200000000000000 00 0400 7269736b";
const golden = Buffer.from(RECORD.replaceAll(" ", ""), "hex");

function read(bytes: Buffer) {
  return readRecord({ buffer: bytes, offset: 0, end: bytes.byteLength, lsn: 1, timeUs: 5 }, new State());
}

describe("a critical log record", () => {
  it("has the bytes of the worked example", () => {
    const { critical, journal } = openTestStore();
    const limits = critical.map("limits");
    const nonce = critical.sequence("nonce");
    critical.commit(
      (tx) => {
        tx.put(limits, "BTC", { max: 5n });
        return tx.next(nonce);
      },
      { actor: "risk" },
    );
    const [entry] = [...journal.read(1n)];
    expect(Buffer.from(entry!.payload).toString("hex")).toBe(golden.toString("hex"));
  });

  it("is what the page shows", () => {
    const page = readFileSync(new URL("../../docs/formats/critical.md", import.meta.url), "utf8");
    const example = page.split("### Worked example")[1]!.split("```")[1]!;
    const shown = [...example.matchAll(/^ *((?:[0-9a-f]{2}(?: |$))+)/gm)].map(([, bytes]) => bytes).join("");
    expect(shown.replaceAll(" ", "")).toBe(golden.toString("hex"));
  });

  it("is read back as it was written", () => {
    const { changes, annotations } = read(golden);
    expect(annotations).toEqual({ actor: "risk" });
    expect(changes.map(({ kind }) => kind)).toEqual(["put", "sequence"]);
  });

  it("cut off anywhere, or followed by anything, is corrupt and nothing worse", () => {
    for (let length = 0; length < golden.byteLength; length++) {
      expect(() => read(golden.subarray(0, length)), `${length} bytes`).toThrow(/critical record/);
    }
    expect(() => read(Buffer.concat([golden, Buffer.from([0])]))).toThrow(/after the record's end/);
  });

  it("with any bit flipped reads as another record or is corrupt, never more", () => {
    for (let bit = 0; bit < golden.byteLength * 8; bit++) {
      const flipped = Buffer.from(golden);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      try {
        read(flipped);
      } catch (error) {
        const expected =
          isStoreError(error, "ERR_STORE_CORRUPT") || isStoreError(error, "ERR_INVALID_ARGUMENT");
        expect(expected, `bit ${bit}: ${error}`).toBe(true);
      }
    }
  });
});
