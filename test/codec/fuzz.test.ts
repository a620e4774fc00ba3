import { expect, it } from "vitest";
import { loadCodec } from "../../src/codec/codec.ts";
import { lazyDelta, loadLz4, loadZstd } from "../../src/codec/libraries.ts";
import { PayloadRooms } from "../../src/codec/payload.ts";
import { loadKernels } from "../../src/kernels/kernels.ts";
import { fuzzDecoders } from "../campaigns/fuzz-codec.ts";
import { SEED } from "./seeded.ts";

const seconds = Number(process.env.VARVE_FUZZ_SECONDS ?? 3);

it("survives payloads that no encoder wrote", { timeout: (seconds + 900) * 1000 }, async () => {
  const delta = lazyDelta();
  await delta.load();
  const [kernels, lz4, zstd] = await Promise.all([loadKernels(), loadLz4(), loadZstd()]);
  const report = fuzzDecoders(
    { kernels, lz4, zstd, delta, payloads: new PayloadRooms() },
    await loadCodec(),
    SEED,
    seconds,
  );
  if (seconds > 3) console.log(`seed ${SEED}`, report);
  expect(report.attacks).toBeGreaterThan(100);
  expect(report.refused).toBeGreaterThan(0);
});
