import { crc32c } from "@node-rs/crc32";
import { lazyZstd, ZSTD_LEVEL } from "../codec/libraries.ts";
import { ByteReader } from "./byte-reader.ts";
import { ByteWriter } from "./byte-writer.ts";
import type { LogRecord } from "./change.ts";
import type { Entry } from "./entry.ts";
import {
  addKeyHashes,
  BLOCK_HEADER_BYTES,
  BLOCK_RAW_BYTES_BUSY,
  BLOCK_RAW_BYTES_MAX,
  type BlockHeader,
  BY_CLEAR,
  CHANGE_FENCE,
  CHANGE_MAP,
  CHANGE_SEQUENCE,
  encodeBlockHeader,
  FRAME_RAW_BYTES,
  filterAdd,
  HAS_AFTER,
  HAS_BEFORE,
  HASH_PRIME,
  KeyHashes,
  keyHashes,
  mapHashes,
  nextLink,
  SECOND_OFFSET,
} from "./history-format.ts";
import {
  CHANGE_DELETE,
  CHANGE_END,
  CHANGE_PUT,
  CHANGE_PUT_EXPIRING,
  FENCE_KINDS,
  FLAG_CUT,
  FLAG_IDEMPOTENCY,
  KIND_CUT,
  KIND_TRANSACTION,
} from "./record-format.ts";
import type { RecordPlace } from "./record-reader.ts";
import { writeAnnotations } from "./record-writer.ts";
import type { State } from "./state.ts";

const zstd = lazyZstd();

const plain = new ByteReader("critical record", Buffer.alloc(0));

/** What a block is filled in: its raw bytes, and the hashes of the keys that its records change. */
export interface BlockMemory {
  out: ByteWriter;
  hashes: KeyHashes;
}

/** Memory for blocks, one after another: fresh pages for each would cost more than what is written to them. */
export function createBlockMemory(): BlockMemory {
  return { out: new ByteWriter(BLOCK_RAW_BYTES_BUSY * 2, BLOCK_RAW_BYTES_MAX), hashes: new KeyHashes() };
}

/** Gathers records into the raw bytes of one history block. */
export class HistoryBlockWriter {
  readonly #out: ByteWriter;
  readonly #names = new Map<string, number>();
  readonly #hashes: KeyHashes;
  /** The hashes of maps that changed, for those of their keys. */
  readonly #mapHashes = new Map<string, readonly [number, number]>();
  /** The name and the map last looked up: mostly the next one's too. */
  #lastName: string | undefined;
  #lastNumber = 0;
  #hashedMap: string | undefined;
  #hashesOfMap: readonly [number, number] = [0, 0];
  #records = 0;
  #firstLsn = 0;
  #firstTimeUs = 0;
  #lastLsn = 0;
  #lastTimeUs = 0;

  /** @param memory is written from its beginning, and free again when `finish` has ended. */
  constructor({ out, hashes }: BlockMemory = createBlockMemory()) {
    this.#out = out;
    this.#hashes = hashes;
    out.restart();
    hashes.count = 0;
  }

  /** Whether the block has reached `rawBytes`. */
  isFull(rawBytes: number): boolean {
    return this.#out.position >= rawBytes;
  }

  get records(): number {
    return this.#records;
  }

  get firstLsn(): number {
    return this.#firstLsn;
  }

  get lastLsn(): number {
    return this.#lastLsn;
  }

  /** What was gathered so far, valid until more is. */
  raw(): Buffer {
    return this.#out.written();
  }

  #begin(lsn: number, timeUs: number, kind: number): void {
    const out = this.#out;
    if (this.#records++ === 0) {
      this.#firstLsn = lsn;
      this.#firstTimeUs = timeUs;
    }
    this.#lastLsn = lsn;
    this.#lastTimeUs = timeUs;
    out.u64(lsn);
    out.u64(timeUs);
    out.u8(kind);
  }

  /**
   * Adds a plain record (puts and deletes, nothing said about them) from its bytes in the log's format, without
   * making objects of it: what nearly all records are, and several times faster. `false`, and nothing added, for
   * any other.
   *
   * @param replaced what its changes replaced, from `firstReplaced` on.
   */
  addPlain(record: RecordPlace, state: State, replaced: readonly unknown[], firstReplaced: number): boolean {
    const changes = this.#plainChanges(record, state);
    if (changes < 0) return false;
    const { buffer, lsn } = record;
    this.#begin(lsn, record.timeUs, KIND_TRANSACTION);
    const out = this.#out;
    out.u8(0);
    out.varint(changes);
    const input = plain;
    input.reuse(buffer, record.offset + 2, record.end);
    for (let change = 0; change < changes; change++) {
      const code = input.u8();
      const before = replaced[firstReplaced + change] as Entry | undefined;
      out.u8(CHANGE_MAP);
      this.#name(state.tableById(input.varint())!.name);
      const keyBytes = input.u16();
      out.u16(keyBytes);
      out.copy(buffer, input.position, keyBytes);
      input.position += keyBytes;
      out.u8((code === CHANGE_DELETE ? 0 : HAS_AFTER) | (before === undefined ? 0 : HAS_BEFORE));
      if (code !== CHANGE_DELETE) {
        out.varint(input.varint());
        out.u64(lsn);
        out.u64(code === CHANGE_PUT_EXPIRING ? input.u64() : 0);
        const valueBytes = input.varint();
        out.varint(valueBytes);
        out.copy(buffer, input.position, valueBytes);
        input.position += valueBytes;
      }
      if (before !== undefined) this.#version(before);
    }
    return true;
  }

  /** The changes of a plain record, whose keys' hashes are then noted, or −1. */
  #plainChanges({ buffer, offset, end }: RecordPlace, state: State): number {
    if (buffer[offset] !== KIND_TRANSACTION || buffer[offset + 1] !== 0) return -1;
    const noted = this.#hashes.count;
    const input = plain;
    input.reuse(buffer, offset + 2, end);
    for (let changes = 0; ; changes++) {
      const code = input.u8();
      if (code === CHANGE_END) return changes;
      if (code === CHANGE_PUT || code === CHANGE_PUT_EXPIRING || code === CHANGE_DELETE) {
        const map = state.tableById(input.varint())!.name;
        const keyBytes = input.u16();
        const keyAt = input.position;
        input.position += keyBytes;
        if (addKeyHashes(this.#hashes, this.#hashesOf(map), buffer, keyAt, keyAt + keyBytes)) {
          if (code === CHANGE_DELETE) continue;
          input.varint();
          if (code === CHANGE_PUT_EXPIRING) input.position += 8;
          const valueBytes = input.length();
          input.position += valueBytes;
          continue;
        }
      }
      this.#hashes.count = noted;
      return -1;
    }
  }

  #hashesOf(map: string): readonly [number, number] {
    if (map === this.#hashedMap) return this.#hashesOfMap;
    let hashes = this.#mapHashes.get(map);
    if (hashes === undefined) {
      hashes = mapHashes(map);
      this.#mapHashes.set(map, hashes);
    }
    this.#hashedMap = map;
    this.#hashesOfMap = hashes;
    return hashes;
  }

  add(record: LogRecord): void {
    const out = this.#out;
    this.#begin(record.lsn, record.timeUs, record.kind === "cut" ? KIND_CUT : KIND_TRANSACTION);
    const flagsAt = out.position - out.start;
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
    out.buffer[out.start + flagsAt] = flags;
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
    this.#key(map, key);
    out.u8((after === undefined ? 0 : HAS_AFTER) | (before === undefined ? 0 : HAS_BEFORE) | by);
    if (after !== undefined) this.#version(after);
    if (before !== undefined) this.#version(before);
  }

  /** Writes a key and notes its hashes, in one go over its characters where these are all ASCII. */
  #key(map: string, key: string): void {
    const out = this.#out;
    const { length } = key;
    out.ensure(2 + length);
    const { buffer, position } = out;
    const to = position + 2;
    let [first, second] = this.#hashesOf(map);
    for (let at = 0; at < length; at++) {
      const code = key.charCodeAt(at);
      if (code >= 0x80) {
        out.text16(key);
        this.#hashes.add(...keyHashes(map, key));
        return;
      }
      buffer[to + at] = code;
      first = Math.imul(first ^ code, HASH_PRIME);
      second = Math.imul(second ^ (code + SECOND_OFFSET), HASH_PRIME);
    }
    buffer[position] = length;
    buffer[position + 1] = length >>> 8;
    out.position = to + length;
    this.#hashes.add(first, second | 1);
  }

  #version(entry: Entry): void {
    const out = this.#out;
    out.varint(entry.schemaVersion);
    out.u64(entry.lsn);
    out.u64(entry.expiresAtUs);
    const { lengthBytes } = entry;
    out.varint(lengthBytes);
    out.ensure(lengthBytes);
    entry.copyTo(out.buffer, out.position);
    out.position += lengthBytes;
  }

  #name(name: string): void {
    let number = this.#lastName === name ? this.#lastNumber : this.#names.get(name);
    if (number === undefined) {
      number = this.#names.size;
      this.#names.set(name, number);
      this.#out.varint(number);
      this.#out.text16(name);
    } else this.#out.varint(number);
    this.#lastName = name;
    this.#lastNumber = number;
  }

  /** The finished block, linked to `previous`; compression runs off the event loop. */
  async finish(previous: Buffer): Promise<{ block: Buffer; header: BlockHeader }> {
    const raw = this.raw();
    const { values, count } = this.#hashes;
    const filter = Buffer.alloc(count / 2);
    for (let at = 0; at < count; at += 2) filterAdd(filter, values[at]!, values[at + 1]!);
    const link = nextLink(previous, raw);
    const stored = await compress(raw);
    const header: BlockHeader = {
      storedBytes: stored.reduce((sum, part) => sum + part.byteLength, 0),
      rawBytes: raw.byteLength,
      filterBytes: filter.byteLength,
      records: this.#records,
      firstLsn: this.#firstLsn,
      lastLsn: this.#lastLsn,
      firstTimeUs: this.#firstTimeUs,
      lastTimeUs: this.#lastTimeUs,
      link,
      filterCrc: crc32c(filter),
    };
    const block = Buffer.concat([Buffer.alloc(BLOCK_HEADER_BYTES), filter, ...stored]);
    encodeBlockHeader(block, header);
    block.writeUInt32LE(crc32c(block.subarray(4)), 0);
    return { block, header };
  }
}

/** The raw bytes as frames, each behind its length. */
async function compress(raw: Buffer): Promise<Uint8Array[]> {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < raw.byteLength; at += FRAME_RAW_BYTES) {
    const frame = await zstd.encodeAsync(raw.subarray(at, at + FRAME_RAW_BYTES), ZSTD_LEVEL.compact);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(frame.byteLength, 0);
    parts.push(length, frame);
  }
  return parts;
}
