import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { realDisk } from "../../src/disk/real-disk.ts";
import { describeDisk } from "./conformance.ts";

describeDisk("the real disk", () => {
  const directory = mkdtempSync(join(tmpdir(), "varve-disk-"));
  return { disk: realDisk, directory, dispose: () => rmSync(directory, { recursive: true }) };
});

it.runIf(process.platform === "linux")(
  "a directory that cannot be made is refused, and not tried for ever",
  () => {
    expect(() => realDisk.makeDirectory("/proc/varve/below")).toThrow(/create directory/);
  },
);
