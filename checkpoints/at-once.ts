/** Tensors read at once: enough that the workers always have a chunk to decode. */
const TENSORS_AT_ONCE = 4;

/** Does something with each, a few at once; a failure waits for those that have begun. */
export async function eachOf<T>(all: readonly T[], visit: (each: T) => Promise<unknown>): Promise<void> {
  const waiting = [...all].reverse();
  const next = async () => {
    for (let each = waiting.pop(); each !== undefined; each = waiting.pop()) await visit(each);
  };
  const results = await Promise.allSettled(Array.from({ length: TENSORS_AT_ONCE }, next));
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}
