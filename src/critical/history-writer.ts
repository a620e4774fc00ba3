import { promisify } from "node:util";
import { deflateRaw } from "node:zlib";
import { crc32c } from "@node-rs/crc32";
import { ByteWriter } from "./byte-writer.ts";
import type { LogRecord } from "./change.ts";
import {
  BLOCK_HEADER_BYTES,
  BLOCK_RAW_BYTES,
  BLOCK_RAW_BYTES_MAX,
  type BlockHeader,
  BY_CLEAR,
  CHANGE_FENCE,
  CHANGE_MAP,
  CHANGE_SEQUENCE,
  encodeBlockHeader,
  filterAdd,
  HAS_AFTER,
  HAS_BEFORE,
  keyHashes,
  nextLink,
} from "./history-format.ts";
import { FENCE_KINDS, FLAG_CUT, FLAG_IDEMPOTENCY, KIND_CUT, KIND_TRANSACTION } from "./record-format.ts";
import { writeAnnotations } from "./record-writer.ts";
import type { Entry } from "./table.ts";

const deflate = promisify(deflateRaw) as (raw: Buffer, options: { level: number }) => Promise<Buffer>;
/** Before and after lie close together, so the fastest setting already takes most of what there is to take. */
const DEFLATE_LEVEL = 2;

/** Gathers records into the raw bytes of one history block. */
export class HistoryBlockWriter {
  readonly #out = new ByteWriter(BLOCK_RAW_BYTES * 2, BLOCK_RAW_BYTES_MAX);
  readonly #names = new Map<string, number>();
  readonly #hashes: [number, number][] = [];
  #records = 0;
  #firstLsn = 0;
  #firstTimeUs = 0;
  #lastLsn = 0;
  #lastTimeUs = 0;

  /** Whether the block has reached `rawBytes`. */
  isFull(rawBytes: number): boolean {
    return this.#out.position >= rawBytes;
  }

  get records(): number {
    return this.#records;
  }

  add(record: LogRecord): void {
    const out = this.#out;
    if (this.#records++ === 0) {
      this.#firstLsn = record.lsn;
      this.#firstTimeUs = record.timeUs;
    }
    this.#lastLsn = record.lsn;
    this.#lastTimeUs = record.timeUs;
    out.u64(record.lsn);
    out.u64(record.timeUs);
    out.u8(record.kind === "cut" ? KIND_CUT : KIND_TRANSACTION);
    const flagsAt = out.position;
    out.u8(0);
    let flags = record.annotations === undefined ? 0 : writeAnnotations(out, record.annotations);
    if (record.idempotencyKey !== undefined) {
      flags |= FLAG_IDEMPOTENCY;
      out.text16(record.idempotencyKey);
    }
    if (record.cut !== undefined) {
      flags |= FLAG_CUT;
      out.text16(record.cut.name);
      out.varint(record.cut.body.byteLength);
      out.bytes(record.cut.body);
    }
    out.buffer[flagsAt] = flags;
    this.#changes(record);
  }

  #changes({ changes }: LogRecord): void {
    const out = this.#out;
    let count = 0;
    for (const change of changes) count += change.kind === "clear" ? change.cleared.length : 1;
    out.varint(count);
    for (const change of changes) {
      if (change.kind === "sequence") {
        out.u8(CHANGE_SEQUENCE);
        this.#name(change.sequence.name);
        out.i64(change.before);
        out.i64(change.next);
        out.u8(change.adopts ? 1 : 0);
      } else if (change.kind === "fence") {
        out.u8(CHANGE_FENCE);
        out.u8(change.fence === undefined ? 0 : FENCE_KINDS.indexOf(change.fence.kind) + 1);
        out.varint(change.fence?.number ?? 0);
        out.text16(change.fence?.detail ?? "");
      } else if (change.kind === "clear") {
        for (const { key, entry } of change.cleared) {
          this.#mapChange(change.table.name, key, undefined, entry, BY_CLEAR);
        }
      } else {
        this.#mapChange(change.table.name, change.key, change.after, change.before, 0);
      }
    }
  }

  #mapChange(
    map: string,
    key: string,
    after: Entry | undefined,
    before: Entry | undefined,
    by: number,
  ): void {
    const out = this.#out;
    out.u8(CHANGE_MAP);
    this.#name(map);
    out.text16(key);
    out.u8((after === undefined ? 0 : HAS_AFTER) | (before === undefined ? 0 : HAS_BEFORE) | by);
    if (after !== undefined) this.#version(after);
    if (before !== undefined) this.#version(before);
    this.#hashes.push(keyHashes(map, key));
  }

  #version(entry: Entry): void {
    const out = this.#out;
    out.varint(entry.schemaVersion);
    out.u64(entry.lsn);
    out.u64(entry.expiresAtUs);
    out.varint(entry.lengthBytes);
    out.ensure(entry.lengthBytes);
    entry.copyTo(out.buffer, out.position);
    out.position += entry.lengthBytes;
  }

  #name(name: string): void {
    const known = this.#names.get(name);
    if (known !== undefined) {
      this.#out.varint(known);
      return;
    }
    this.#out.varint(this.#names.size);
    this.#out.text16(name);
    this.#names.set(name, this.#names.size);
  }

  /** The finished block, linked to `previous`; compression runs off the event loop. */
  async finish(previous: Buffer): Promise<{ block: Buffer; header: BlockHeader }> {
    const raw = this.#out.written();
    const filter = Buffer.alloc(this.#hashes.length);
    for (const hashes of this.#hashes) filterAdd(filter, hashes);
    const link = nextLink(previous, raw);
    const stored = await deflate(raw, { level: DEFLATE_LEVEL });
    const header: BlockHeader = {
      storedBytes: stored.byteLength,
      rawBytes: raw.byteLength,
      filterBytes: filter.byteLength,
      records: this.#records,
      firstLsn: this.#firstLsn,
      lastLsn: this.#lastLsn,
      firstTimeUs: this.#firstTimeUs,
      lastTimeUs: this.#lastTimeUs,
      link,
    };
    const block = Buffer.concat([Buffer.alloc(BLOCK_HEADER_BYTES), filter, stored]);
    encodeBlockHeader(block, header);
    block.writeUInt32LE(crc32c(block.subarray(4)), 0);
    return { block, header };
  }
}
