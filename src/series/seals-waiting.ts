import { StoreError } from "../errors.ts";
import { SERIES_SEALS_WAITING, SERIES_SEALS_WAITING_BYTES, SERIES_SEALS_WAITING_MAX } from "../limits.ts";

/** Full segments that wait to be sealed, by their hot files. */
type Waiting = readonly { journal: { sizeBytes: number } }[];

export function bytesWaiting(full: Waiting): number {
  return full.reduce((sum, { journal }) => sum + journal.sizeBytes, 0);
}

/** @throws ERR_LIMIT when another one may not wait */
export function requireSealsKeepUp(name: string, full: Waiting): void {
  const { length } = full;
  if (length < SERIES_SEALS_WAITING) return;
  const sizeBytes = bytesWaiting(full);
  if (length < SERIES_SEALS_WAITING_MAX && sizeBytes < SERIES_SEALS_WAITING_BYTES) return;
  throw new StoreError(
    "ERR_LIMIT",
    `series "${name}": ${length} full segments of ${sizeBytes} bytes wait to be sealed`,
    {
      context: { series: name, segments: length, sizeBytes },
      retryable: true,
      hint: "Await `settled()` between batches, so that sealing keeps up.",
    },
  );
}
