import { expect, it } from "vitest";
import { loadColumnCodec } from "../../../src/series/columns/column-codec.ts";
import { fuzzColumns } from "../../campaigns/fuzz-columns.ts";
import { SEED } from "../../codec/seeded.ts";

const seconds = Number(process.env.VARVE_FUZZ_SECONDS ?? 3);

it("survives columns that no encoder wrote", { timeout: (seconds + 900) * 1000 }, async () => {
  const report = fuzzColumns(await loadColumnCodec(), SEED, seconds);
  if (seconds > 3) console.log(`seed ${SEED}`, report);
  expect(report.attacks).toBeGreaterThan(30);
  expect(report.refused).toBeGreaterThan(0);
});
