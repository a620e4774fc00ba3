import { StoreError } from "../errors.ts";
import { TokenBucket } from "../pace/token-bucket.ts";

/** How work in the background is paced, and when it need not be any more. */
export interface Pacing {
  /** The store's. */
  budget: TokenBucket;
  /** Somebody waits for the work to end: it goes on without a pause. */
  hurry: AbortSignal;
}

/** A rate that the caller gives for one piece of work alone. @throws `ERR_INVALID_ARGUMENT` */
export function ownBucket(bytesPerSecond: number): TokenBucket {
  if (!(bytesPerSecond > 0)) {
    throw new StoreError("ERR_INVALID_ARGUMENT", `bytesPerSecond: ${bytesPerSecond} is not above zero`);
  }
  return new TokenBucket(bytesPerSecond);
}
