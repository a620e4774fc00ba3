import type { StoreError } from "../errors.ts";
import type { Segments } from "./segments.ts";
import type { Chain } from "./writer.ts";

/** Segments kept ready beyond the one being written, so that a full disk or a burst does not stop commits. */
const SPARE_SEGMENTS = 2;

/**
 * Segments that were given up are kept beyond those, so that none need be made while the log runs in its ring: as
 * many of the usual size as one snapshot gives up after 40,000 records of some 800 bytes.
 */
const RECYCLED_SEGMENTS = 8;

/**
 * Keeps segments ready ahead of the chain and reuses those behind it. All of it happens off the caller's thread,
 * save when preparation did not keep up.
 */
export class SegmentKeeper {
  readonly #chain: Chain;
  readonly #firstLsns: Map<number, number>;
  readonly #warn: (warning: StoreError) => void;
  #copies: readonly Segments[];
  /** What a durable block says is still needed: nothing from here on is given up. */
  #durableLogStart: number;
  #recycledBelow = 0;
  /** The chain's place at which segments must be looked after again, and from which a segment's first record is not noted. */
  #careAt = 0;
  #noteAt = 0;
  /** The segments are known ready up to here: the one being written stays so. */
  #readyTo = 0;
  #work: Promise<void> = Promise.resolve();

  constructor(
    copies: readonly Segments[],
    chain: Chain,
    firstLsns: Map<number, number>,
    warn: (warning: StoreError) => void,
  ) {
    this.#copies = copies;
    this.#chain = chain;
    this.#firstLsns = firstLsns;
    this.#warn = warn;
    this.#durableLogStart = chain.logStart;
    this.#note();
    this.#care();
  }

  /** LSN of the first record that can still be read. */
  get firstLsn(): number {
    return this.#firstLsns.get(this.ordinalOf(this.#chain.logStart)) ?? this.#chain.nextLsn;
  }

  /** The place from which reading finds a record. */
  startOf(lsn: bigint): number {
    let start = this.#chain.logStart;
    for (const [ordinal, first] of this.#firstLsns) {
      if (first <= lsn) start = Math.max(start, ordinal * this.#chain.segmentBlocks);
    }
    return start;
  }

  ordinalOf(sequence: number): number {
    return Math.floor(sequence / this.#chain.segmentBlocks);
  }

  /** Whether the next so many blocks have segments to lie in. */
  isReady(blocks: number): boolean {
    const end = this.#chain.nextSequence + blocks;
    if (end <= this.#readyTo) return true;
    const last = this.ordinalOf(end - 1);
    for (const copy of this.#copies) if (!copy.isReady(last)) return false;
    this.#readyTo = (last + 1) * this.#chain.segmentBlocks;
    return true;
  }

  /** Makes that so on the caller's thread; throws when the log has no space, and says what the mirror lacks. */
  makeReady(blocks: number): StoreError | undefined {
    const last = this.ordinalOf(this.#chain.nextSequence + blocks - 1);
    const [log, mirror] = this.#copies;
    if (!log!.isReady(last)) log!.ensureSync(last);
    try {
      if (mirror?.isReady(last) === false) mirror.ensureSync(last);
      return undefined;
    } catch (error) {
      return error as StoreError;
    }
  }

  /** The same off the caller's thread; ends when all work ahead has ended, well or not. */
  prepare(): Promise<void> {
    this.#care();
    return this.#work;
  }

  /** Moves the log's start past whole segments without a record from `lsn` on. Returns whether it moved. */
  trim(lsn: bigint): boolean {
    const before = this.#chain.logStart;
    this.#chain.logStart = Math.min(this.startOf(lsn), this.#startOfCurrent());
    const keep = this.ordinalOf(this.#chain.logStart);
    for (const ordinal of this.#firstLsns.keys()) if (ordinal < keep) this.#firstLsns.delete(ordinal);
    return this.#chain.logStart > before;
  }

  /** Blocks have got their places. Told of each write, it passes over no segment. */
  placed(): void {
    if (this.#chain.nextSequence >= this.#noteAt) this.#note();
  }

  /** A write is durable whose blocks say where the log starts. */
  written(logStart: number): void {
    if (logStart > this.#durableLogStart) {
      this.#durableLogStart = logStart;
      this.#careAt = 0;
    }
    if (this.#chain.nextSequence >= this.#careAt) this.#care();
  }

  dropMirror(): void {
    this.#copies = this.#copies.slice(0, 1);
  }

  /** Waits for work under way. */
  idle(): Promise<void> {
    return this.#work;
  }

  #startOfCurrent(): number {
    return this.ordinalOf(this.#chain.durableThrough) * this.#chain.segmentBlocks;
  }

  #note(): void {
    const ordinal = this.ordinalOf(this.#chain.nextSequence);
    if (!this.#firstLsns.has(ordinal)) this.#firstLsns.set(ordinal, this.#chain.nextLsn);
    this.#noteAt = (ordinal + 1) * this.#chain.segmentBlocks;
  }

  #care(): void {
    const current = this.ordinalOf(this.#chain.nextSequence);
    const keep = this.ordinalOf(this.#durableLogStart);
    const spareTo = current + SPARE_SEGMENTS;
    this.#careAt = (current + 1) * this.#chain.segmentBlocks;
    for (const copy of this.#copies) {
      try {
        if (keep > this.#recycledBelow) copy.recycle(keep, spareTo + RECYCLED_SEGMENTS);
      } catch (error) {
        this.#warn(error as StoreError);
      }
      this.#work = this.#work
        .then(() => copy.prepare(current, spareTo))
        .catch((error: StoreError) => this.#warn(error));
    }
    this.#recycledBelow = keep;
  }
}
