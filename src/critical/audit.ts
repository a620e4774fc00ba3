import { isStoreError, StoreError } from "../errors.ts";
import type { History } from "./history.ts";
import { LINK_BYTES, NO_LINK, nextLink } from "./history-format.ts";
import { blockPlaces, blockRecords, readBlock, readFileHeader } from "./history-reader.ts";
import type { State } from "./state.ts";

/** What proving the trail found. */
export interface AuditReport {
  /** Every link holds, from the first kept record to the last commit. */
  whole: boolean;
  /** First and last LSN proved. */
  firstLsn: bigint;
  lastLsn: bigint;
  /** Links of the chain: blocks of records. */
  links: number;
  records: number;
  /** The chain's last link in hex; kept elsewhere, it proves later that nothing up to it was rewritten. */
  head: string;
  firstBad: BadLink | undefined;
  /** With `head`: the last LSN that it stands for; `undefined` when no link proved is that one. */
  headLsn?: bigint | undefined;
}

export interface AuditQuery {
  /** A head that was kept elsewhere, in hex: whether this trail still holds all that it stood for. */
  head?: string;
}

export interface BadLink {
  file: string;
  offset: number;
  /** LSN range of the block; 0n where the damage hides it. */
  firstLsn: bigint;
  lastLsn: bigint;
  problem: string;
}

/**
 * Proves the audit trail: every block's checksum, every link to the block before, LSNs without a gap and times that
 * rise, across all files up to the newest commit. The records not sealed into a block yet are proved by the log's
 * own chain.
 *
 * @throws ERR_INVALID_ARGUMENT for a head that is none
 */
export function verifyAudit(history: History, state: State, { head }: AuditQuery = {}): AuditReport {
  const wanted = head === undefined ? undefined : linkOf(head);
  const report: AuditReport = {
    whole: true,
    firstLsn: BigInt(history.firstLsn),
    lastLsn: BigInt(history.firstLsn - 1),
    links: 0,
    records: 0,
    head: NO_LINK.toString("hex"),
    firstBad: undefined,
  };
  const proof = new Proof(report, wanted);
  const { startLsn = history.firstLsn, firstLsn } = history;
  if (firstLsn > startLsn) {
    const first = history.files[0]?.path ?? "history";
    proof.bad(
      first,
      0,
      startLsn,
      firstLsn - 1,
      "what came before was not dropped by age or size, and is missing",
    );
    return report;
  }
  if (history.files.length === 0 && startLsn === 1) proof.proven(NO_LINK, 0);
  for (const [index, file] of history.files.entries()) {
    if (!proof.file(history, file, index === 0)) return report;
  }
  if (history.files.length > 0 && !history.head.equals(proof.link)) {
    const file = history.files.at(-1)!;
    proof.bad(file.path, file.sizeBytes, 0, 0, "the files end before the last link that was written");
    return report;
  }
  for (const { link, lastLsn } of history.replayedLinks()) proof.proven(link, lastLsn);
  for (const record of history.pending()) {
    if (BigInt(record.lsn) !== report.lastLsn + 1n) {
      proof.bad("log", 0, record.lsn, record.lsn, `LSN ${report.lastLsn + 1n} is missing`);
      return report;
    }
    report.lastLsn = BigInt(record.lsn);
    report.records++;
  }
  if (report.lastLsn !== BigInt(state.lsn)) {
    proof.bad("log", 0, Number(report.lastLsn) + 1, state.lsn, "the trail ends before the last commit");
  }
  return report;
}

function linkOf(head: unknown): Buffer {
  const isHex = typeof head === "string" && /^[0-9a-f]+$/i.test(head) && head.length === LINK_BYTES * 2;
  if (isHex) return Buffer.from(head, "hex");
  throw new StoreError("ERR_INVALID_ARGUMENT", `a head is ${LINK_BYTES * 2} hex digits`, {
    hint: "It is the `head` that an earlier proof of the trail gave.",
  });
}

class Proof {
  link: Buffer = NO_LINK;
  #timeUs = 0;
  readonly #report: AuditReport;
  readonly #wanted: Buffer | undefined;

  constructor(report: AuditReport, wanted: Buffer | undefined) {
    this.#report = report;
    this.#wanted = wanted;
  }

  /** Everything up to an LSN is proven, and this link stands for it. */
  proven(link: Buffer, lastLsn: number): void {
    this.link = link;
    this.#report.head = link.toString("hex");
    if (this.#wanted?.equals(link)) this.#report.headLsn = BigInt(lastLsn);
  }

  bad(file: string, offset: number, firstLsn: number, lastLsn: number, problem: string): false {
    this.#report.whole = false;
    this.#report.firstBad = { file, offset, firstLsn: BigInt(firstLsn), lastLsn: BigInt(lastLsn), problem };
    return false;
  }

  file(
    history: History,
    { path, sizeBytes }: { path: string; sizeBytes: number },
    isFirst: boolean,
  ): boolean {
    const file = history.disk.open(path, { access: "read" });
    try {
      const header = readFileHeader(file);
      // What came before the first file kept was dropped; a store's very first file begins with zeros.
      if (isFirst) this.proven(header.firstLsn > 1 ? header.link : NO_LINK, header.firstLsn - 1);
      if (!header.link.equals(this.link)) {
        return this.bad(path, 0, header.firstLsn, header.firstLsn, "the file does not follow the one before");
      }
      for (const place of blockPlaces(history.disk, path, sizeBytes)) {
        const { offset, firstLsn, lastLsn } = place;
        const raw = readBlock(file, place);
        if (BigInt(firstLsn) !== this.#report.lastLsn + 1n) {
          return this.bad(path, offset, firstLsn, lastLsn, `LSN ${this.#report.lastLsn + 1n} is missing`);
        }
        const link = nextLink(this.link, raw);
        if (!link.equals(place.link)) {
          return this.bad(path, offset, firstLsn, lastLsn, "the block's contents do not match its link");
        }
        const wrong = this.#records(raw, path, firstLsn, lastLsn);
        if (wrong !== undefined) return this.bad(path, offset, firstLsn, lastLsn, wrong);
        this.proven(link, lastLsn);
        this.#report.lastLsn = BigInt(lastLsn);
        this.#report.links++;
      }
      return true;
    } catch (error) {
      if (!isStoreError(error)) throw error;
      const { offset = 0, firstLsn, lastLsn, afterLsn } = error.context as Record<string, number | undefined>;
      const from = firstLsn ?? (afterLsn ?? Number(this.#report.lastLsn)) + 1;
      return this.bad(path, offset, from, lastLsn ?? from, error.message);
    } finally {
      file.close();
    }
  }

  #records(raw: Buffer, path: string, firstLsn: number, lastLsn: number): string | undefined {
    let expected = firstLsn;
    for (const { lsn, timeUs } of blockRecords(raw, path)) {
      if (lsn !== expected) return `LSN ${expected} is missing`;
      if (timeUs <= this.#timeUs) return `the time of LSN ${lsn} does not follow`;
      this.#timeUs = timeUs;
      this.#report.records++;
      expected++;
    }
    return expected === lastLsn + 1 ? undefined : `it ends with LSN ${expected - 1}`;
  }
}
