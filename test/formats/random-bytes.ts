/** Numbers from a seed that is printed with a failure; `VARVE_SEED` repeats them. */
export function randomOf() {
  const seed = Number(process.env["VARVE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  };
  return { below: (limit: number) => next() % limit, says: `VARVE_SEED=${seed} repeats this failure` };
}
