/** Some memory that values lie in. */
export interface ValuePage {
  readonly bytes: Buffer;
  /** Pages of an older one are being given up. */
  generation: number;
  usedBytes: number;
  /** Of values that are current. */
  liveBytes: number;
  /** More will be written to it. */
  isOpen: boolean;
  /** The last record that may have a value in it, once it is no longer open. */
  lastLsn: number;
}

/** Marks an entry whose value nobody has asked for yet. */
export const UNDECODED = Symbol("undecoded");

/** Up to here a loop is faster than a call, which makes a view first. */
const LOOP_BYTES_MAX = 64;

/**
 * One version of one key's value; what it says does not change, so that a snapshot may hold it. Its bytes lie where
 * they were written or read; of one that outlives that place, in the state's value pages. One that was replaced, and
 * that nobody holds, is told anew (`renew`) for a later write.
 */
export class Entry {
  /** The encoded value lies here. */
  private source: Buffer;
  private offset: number;
  lengthBytes: number;
  schemaVersion: number;
  /** Microseconds since the Unix epoch from which on the entry is gone; 0 = never. */
  expiresAtUs: number;
  /** LSN of the commit that wrote it: the version that `ifVersion` compares. */
  lsn: number;
  /** The value page it lies in, unless it lies elsewhere. */
  page: ValuePage | undefined = undefined;
  /** It is what its key holds, or will once it is durable. */
  current = true;
  /** The decoded, frozen value once it was asked for. */
  value: unknown = UNDECODED;

  constructor(
    source: Buffer,
    offset: number,
    lengthBytes: number,
    schemaVersion: number,
    expiresAtUs: number,
    lsn: number,
  ) {
    this.source = source;
    this.offset = offset;
    this.lengthBytes = lengthBytes;
    this.schemaVersion = schemaVersion;
    this.expiresAtUs = expiresAtUs;
    this.lsn = lsn;
  }

  /** Makes it another entry, with a value in a page of records. Nobody may hold the one it was. */
  renew(source: Buffer, offset: number, lengthBytes: number, page: ValuePage): void {
    this.source = source;
    this.offset = offset;
    this.lengthBytes = lengthBytes;
    this.page = page;
    this.current = true;
    this.value = UNDECODED;
  }

  /** Moves its bytes, so that the place they lie in can go. */
  moveTo(target: Buffer, position: number, page?: ValuePage): void {
    this.copyTo(target, position);
    this.source = target;
    this.offset = position;
    this.page = page;
  }

  copyTo(target: Buffer, position: number): void {
    const { source, offset, lengthBytes } = this;
    if (lengthBytes > LOOP_BYTES_MAX) source.copy(target, position, offset, offset + lengthBytes);
    else for (let at = 0; at < lengthBytes; at++) target[position + at] = source[offset + at]!;
  }

  liveAt(timeUs: number): boolean {
    return this.expiresAtUs === 0 || this.expiresAtUs > timeUs;
  }
}
