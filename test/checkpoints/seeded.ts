import { Random } from "../../src/disk/random.ts";

/** The seed of this run's random choices: fresh each time, or `VARVE_SEED`. Failures print it. */
export const seed = Number(process.env["VARVE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

/** Runs `body` with random numbers of this run's seed; what it throws names the seed. */
export async function seeded(body: (random: Random) => Promise<void> | void): Promise<void> {
  try {
    await body(new Random(seed));
  } catch (error) {
    throw new Error(`VARVE_SEED=${seed} repeats this failure: ${(error as Error).message}`, { cause: error });
  }
}

/** Random bytes that compress a little, as weights do. */
export function randomBytes(random: Random, sizeBytes: number): Uint8Array {
  return random.fill(new Uint8Array(sizeBytes));
}
