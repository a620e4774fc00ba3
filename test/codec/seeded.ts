import fc from "fast-check";

/** A fresh seed for each run, printed by fast-check on failure; VARVE_SEED fixes it. */
export const SEED = Number(process.env.VARVE_SEED ?? Date.now() & 0x7fffffff);

export function property<Ts extends [unknown, ...unknown[]]>(
  ...parameters: [...arbitraries: { [K in keyof Ts]: fc.Arbitrary<Ts[K]> }, predicate: (...args: Ts) => void]
): { check(runs: number): void } {
  const made = fc.property<Ts>(...(parameters as Parameters<typeof fc.property<Ts>>));
  return { check: (runs) => fc.assert(made, { seed: SEED, numRuns: runs }) };
}

/** Deterministic noise (xorshift32): for arrays too long for fast-check to shrink. */
export function noise(seed: number): () => number {
  let state = (seed | 0) === 0 ? 1 : seed | 0;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
