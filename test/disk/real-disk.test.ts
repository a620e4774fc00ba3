import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { realDisk } from "../../src/disk/real-disk.ts";
import { describeDisk } from "./conformance.ts";

describeDisk("the real disk", () => {
  const directory = mkdtempSync(join(tmpdir(), "varve-disk-"));
  return { disk: realDisk, directory, dispose: () => rmSync(directory, { recursive: true }) };
});
