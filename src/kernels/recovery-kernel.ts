import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { builtFile } from "../built.ts";

/** The part of the platform's WebAssembly that is used here: the ES library has no types for it. */
const { WebAssembly } = globalThis as unknown as {
  WebAssembly: {
    Module: new (bytes: Uint8Array) => object;
    Memory: new (size: { initial: number; maximum: number; shared: boolean }) => object;
    Instance: new (module: object, imports: object) => { exports: RecoveryExports };
  };
};

/** What the module exports (assembly/recovery); addresses are byte offsets into its memory. */
export interface RecoveryExports {
  readonly memory: { readonly buffer: SharedArrayBuffer };
  take(sizeBytes: number): number;
  reserve(sizeBytes: number): number;
  chainState(): number;
  chainOfStore(known: number): void;
  blockLengths(): number;
  blockChecksums(): number;
  seedBlocks(at: number, count: number): number;
  followBlocks(at: number, count: number): number;
  passBlocks(at: number, count: number, sequence: number): number;
  keepBlocks(at: number, count: number, to: number): number;
  keptBytes(block: number): number;
  beginRecords(lsn: number, count: number): number;
  recordCount(): number;
  placeRecords(at: number, count: number): number;
  placeAt(start: number, end: number, timeUs: number): void;
  beginTables(count: number): void;
  defineTable(id: number): number;
  clearTable(table: number): void;
  countRows(chunk: number, end: number): number;
  loadRows(chunk: number, end: number): number;
  makeIndex(table: number, more: number): void;
  indexRows(table: number, from: number, to: number): void;
  settleRows(table: number): void;
  beginReplay(places: number, count: number, lsn: number, sequences: number): void;
  sequenceTable(): number;
  setFence(number: number): void;
  replay(): number;
  replayRecord(): number;
  replayPosition(): number;
  replayResume(at: number): void;
  beforeRows(): number;
  beforesSoFar(): number;
  beforeYours(): number;
  noteList(): number;
  notesSoFar(): number;
}

/**
 * The kernel of one opening, with a memory of its own. What recovery reads goes into that memory, and what it finds
 * stays there for as long as anything refers to it. Any call may move the memory; once recovery has ended, none
 * may be made.
 */
export class RecoveryKernel {
  readonly exports: RecoveryExports;
  #memory: Buffer;
  readonly #isFirst = made++ === 0;
  #weight: ArrayBuffer | undefined;

  constructor() {
    compiled ??= new WebAssembly.Module(
      readFileSync(fileURLToPath(builtFile(import.meta.url, "recovery.wasm"))),
    );
    // Shared, though no other thread sees it: V8 would take each time it grows for a reason to collect garbage.
    const memory = new WebAssembly.Memory({ initial: PAGES_INITIAL, maximum: PAGES_MAX, shared: true });
    this.exports = new WebAssembly.Instance(compiled, { env: { memory } }).exports;
    this.#memory = Buffer.from(this.exports.memory.buffer);
  }

  /**
   * It takes no more memory. V8 does not count what is shared when it decides whether to collect, which is right for the
   * one opening that most processes do. A reader that begins anew again and again would fill the memory with what is
   * left of the openings before; so the others get weight, an array as large that nobody touches.
   */
  end(): void {
    if (!this.#isFirst) this.#weight ??= new ArrayBuffer(this.exports.memory.buffer.byteLength);
  }

  /** All of the memory, as long as it is not moved. */
  get memory(): Buffer {
    const { buffer } = this.exports.memory;
    if (this.#memory.buffer !== buffer) this.#memory = Buffer.from(buffer);
    return this.#memory;
  }

  /** Room for so many bytes. */
  take(sizeBytes: number): number {
    return this.exports.take(sizeBytes) >>> 0;
  }

  /** The next so many bytes are taken without the memory being moved. */
  reserve(sizeBytes: number): void {
    this.exports.reserve(sizeBytes);
  }

  /** A part of the memory as words; `at` is a multiple of four. */
  words(at: number, count: number): Uint32Array {
    return new Uint32Array(this.exports.memory.buffer, at >>> 0, count);
  }
}

/** In pages of WebAssembly: what every opening takes, and all there can be. */
const PAGES_INITIAL = 16;
const PAGES_MAX = 65_536;

/** Kernels of this thread. */
let made = 0;

/** Compiled once a thread. */
let compiled: object | undefined;
