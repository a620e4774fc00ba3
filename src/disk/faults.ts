/** What goes wrong in a simulated disk, and when. */
export interface Fault {
  on: FaultOperation;
  /** Only files whose path holds this text. */
  path?: string;
  /** Lets so many matching calls pass first; 0 by default. */
  after?: number;
  /** Goes wrong so many times; once by default. */
  times?: number;
  effect: FaultEffect;
}

export type FaultOperation = "open" | "read" | "write" | "sync" | "syncDirectory" | "map" | "put";

/**
 * What goes wrong with `map` and `put` is always that memory cannot be had, whatever the effect.
 *
 * - `EIO`: the call fails; of a failed write any sectors may have reached the device, and after a failed sync no
 *   later sync writes what that one should have.
 * - `ENOSPC`: a write stores its first `shortBytes` and then fails: the short count of a full disk.
 * - `lost`: a write or sync reports success and does nothing.
 * - `misdirected`: a write lands `byBytes` away from where it was sent.
 * - `flip`: a read returns one bit wrong, once: the device is not changed.
 */
export type FaultEffect =
  | { kind: "EIO" }
  | { kind: "ENOSPC"; shortBytes?: number }
  | { kind: "lost" }
  | { kind: "misdirected"; byBytes: number }
  | { kind: "flip" };

interface Armed extends Fault {
  seen: number;
}

/** The faults that are armed; each counts the calls it matches. */
export class Faults {
  #armed: Armed[] = [];

  arm(fault: Fault): void {
    this.#armed.push({ ...fault, seen: 0 });
  }

  /** The effect due on this call, if any. */
  next(on: FaultOperation, path: string): FaultEffect | undefined {
    let due: FaultEffect | undefined;
    for (const fault of this.#armed) {
      if (fault.on !== on || (fault.path !== undefined && !path.includes(fault.path))) continue;
      const call = fault.seen++;
      const first = fault.after ?? 0;
      if (call >= first && call < first + (fault.times ?? 1)) due ??= fault.effect;
    }
    return due;
  }
}
