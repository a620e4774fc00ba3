import { crc32c } from "@node-rs/crc32";
import { invariant } from "../assert.ts";
import type { Disk, DiskFile } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import { CRITICAL_NAMES_MAX, NAME_BYTES_MAX } from "../limits.ts";
import { ByteReader } from "./byte-reader.ts";
import { ByteWriter } from "./byte-writer.ts";
import type { State } from "./state.ts";

/**
 * A small file on another device that holds the highest number of every sequence. When the store's own content is
 * put back to an older state, in place or with its whole disk image, nothing inside it can tell; the witness can.
 *
 * ```
 *   two slots of 2 MiB, written in turn, as far as is used: u32 CRC-32C of the rest, u32 length of the rest, u32 generation,
 *   u32 count, each: text name, i64 next
 * ```
 *
 * It is written and synced after the log and before a commit that moved a sequence is acknowledged, on the
 * caller's thread: sequences used often should reserve numbers.
 */
const SLOT_BYTES = 2 << 20;
const HEADER_BYTES = 16;
// A sequence that the witness has no room for would be moved by a commit that is durable and cannot be acknowledged.
invariant(
  HEADER_BYTES + CRITICAL_NAMES_MAX * (2 + NAME_BYTES_MAX + 8) <= SLOT_BYTES,
  "every sequence a store may have fits into a slot",
);

export class Witness {
  readonly #file: DiskFile;
  readonly #path: string;
  #generation: number;
  readonly #next = new Map<string, bigint>();
  readonly #out = new ByteWriter(4096, SLOT_BYTES);

  /** @throws ERR_STORE_CORRUPT when neither slot reads */
  constructor(disk: Disk, path: string) {
    this.#path = path;
    const existed = disk.stat(path) !== undefined;
    this.#file = disk.open(path, { access: "write", create: "may" });
    this.#generation = existed ? this.#load() : 0;
  }

  /** Sequences whose numbers here are higher than in the store, in words; `undefined` when there are none. */
  findRollback(state: State): string | undefined {
    const known = new Map(state.sequences().map((sequence) => [sequence.name, sequence.durableNext]));
    const ahead = [...this.#next].filter(([name, next]) => (known.get(name) ?? 0n) < next);
    if (ahead.length === 0) return undefined;
    const named = ahead.slice(0, 5).map(([name, next]) => `${name} had reached ${next}`);
    return `the witness ${this.#path} says that ${named.join(", ")}`;
  }

  /** The lowest number of a sequence that was never handed out, as far as the witness knows. */
  next(name: string): bigint {
    return this.#next.get(name) ?? 0n;
  }

  /** Writes the numbers down, durably, if one has risen. */
  update(state: State): void {
    let risen = false;
    for (const { name, durableNext } of state.sequences()) {
      if (durableNext <= this.next(name)) continue;
      this.#next.set(name, durableNext);
      risen = true;
    }
    if (risen) this.#write();
  }

  #write(): void {
    const out = this.#out;
    const generation = this.#generation + 1;
    out.position = 8;
    out.u32(generation);
    out.u32(this.#next.size);
    for (const [name, next] of this.#next) {
      out.text16(name);
      out.i64(next);
    }
    const slot = out.buffer.subarray(0, out.position);
    slot.writeUInt32LE(out.position - 8, 4);
    slot.writeUInt32LE(crc32c(slot.subarray(4)), 0);
    this.#file.writeSync(slot, (generation % 2) * SLOT_BYTES);
    this.#file.syncSync();
    this.#generation = generation;
  }

  #load(): number {
    const sizeBytes = this.#file.sizeBytes();
    if (sizeBytes === 0) return 0;
    let newest: { generation: number; slot: Buffer } | undefined;
    for (const offset of [0, SLOT_BYTES]) {
      const header = Buffer.alloc(HEADER_BYTES);
      if (this.#file.readSync(header, offset) < HEADER_BYTES) continue;
      const end = 8 + header.readUInt32LE(4);
      if (end < HEADER_BYTES || end > SLOT_BYTES) continue;
      const slot = Buffer.alloc(end);
      if (this.#file.readSync(slot, offset) < end) continue;
      if (crc32c(slot.subarray(4)) !== slot.readUInt32LE(0)) continue;
      const generation = slot.readUInt32LE(8);
      if (generation <= (newest?.generation ?? 0)) continue;
      newest = { generation, slot: slot.subarray(8) };
    }
    if (newest === undefined) {
      throw new StoreError("ERR_STORE_CORRUPT", `witness ${this.#path}: neither of its slots reads`, {
        context: { path: this.#path },
        hint: "Find the highest numbers the exchange has seen, remove the file, and raise the sequences (atLeast).",
      });
    }
    const input = new ByteReader(`witness ${this.#path}`, newest.slot, 4);
    for (let count = input.u32(); count > 0; count--) {
      const name = input.text16();
      this.#next.set(name, input.i64());
    }
    return newest.generation;
  }

  close(): void {
    this.#file.close();
  }
}
