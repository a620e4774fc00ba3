import { LatencyHistogram } from "../histogram.ts";
import { BLOCK_BYTES } from "./format.ts";
import type { GatheredWrite } from "./gathering.ts";

/** What a log has written since it was opened. */
export class WriteCounts {
  /** When the last write ended, by `performance.now()`. */
  lastMs = 0;
  readonly #writeUs = new LatencyHistogram();
  readonly #groupRecords = new LatencyHistogram();
  readonly #counts = { writes: 0, records: 0, sealBlocks: 0, deviceBytes: 0, groupRecordsMax: 0 };

  /** Counts a write that is durable. */
  add(write: GatheredWrite): void {
    const nowMs = performance.now();
    // One that lay ready behind another was begun when that had ended.
    this.#writeUs.record((nowMs - Math.max(write.startedMs, this.lastMs)) * 1000);
    this.lastMs = nowMs;
    const counts = this.#counts;
    counts.writes++;
    counts.records += write.records;
    if (write.records > 0) this.#groupRecords.record(write.records);
    counts.deviceBytes += write.bytes.byteLength;
    if (write.kind === "seal") counts.sealBlocks++;
    if (write.records > counts.groupRecordsMax) counts.groupRecordsMax = write.records;
  }

  /** The same of an open block. */
  addOpenBlock(): void {
    this.#counts.deviceBytes += BLOCK_BYTES;
  }

  stats() {
    return { ...this.#counts, write: this.#writeUs.summary(), groupRecords: this.#groupRecords.counts() };
  }
}
