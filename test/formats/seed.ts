import fc from "fast-check";

const seed = Number(process.env["VARVE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

/**
 * Checks a property on fresh random input. A failure prints its seed; `VARVE_SEED=<seed>` runs the same again.
 * The last argument is the predicate, those before it are its arbitraries.
 */
export function checkProperty<Values extends [unknown, ...unknown[]]>(
  ...parts: [...{ [K in keyof Values]: fc.Arbitrary<Values[K]> }, (...values: Values) => void]
): void {
  const predicate = parts.at(-1) as (...values: Values) => void;
  const arbitraries = parts.slice(0, -1) as unknown as { [K in keyof Values]: fc.Arbitrary<Values[K]> };
  fc.assert(
    fc.property(fc.tuple<Values>(...arbitraries), (values) => predicate(...values)),
    {
      seed,
      numRuns: Number(process.env["VARVE_RUNS"] ?? 500),
      // fast-check's own report holds the seed; this says how to use it.
      reporter: (details) => {
        if (!details.failed) return;
        throw new Error(`VARVE_SEED=${seed} repeats this failure\n${fc.defaultReportMessage(details)}`, {
          cause: details.errorInstance,
        });
      },
    },
  );
}
