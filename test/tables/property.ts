import fc from "fast-check";

const seed = Number(process.env["VARVE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

/** Checks an asynchronous property; a failure prints its seed, `VARVE_SEED=<seed>` runs the same again. */
export async function checkAsync<T>(
  values: fc.Arbitrary<T>,
  check: (value: T) => Promise<void>,
  runs = 60,
): Promise<void> {
  await fc.assert(fc.asyncProperty(values, check), {
    seed,
    numRuns: Number(process.env["VARVE_RUNS"] ?? runs),
    reporter: (details) => {
      if (!details.failed) return;
      throw new Error(`VARVE_SEED=${seed} repeats this failure\n${fc.defaultReportMessage(details)}`, {
        cause: details.errorInstance,
      });
    },
  } as fc.Parameters<[T]>);
}
