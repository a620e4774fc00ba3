import type { Disk } from "../disk/disk.ts";
import { isStoreError } from "../errors.ts";
import { WAL_SEGMENT_BLOCKS } from "../limits.ts";
import { blockHash } from "./block-hash.ts";
import { advance, chainFrom, links, soundBlock } from "./chain.ts";
import {
  type BlockFault,
  type BlockHeader,
  decodeBlock,
  decodeOpenPayload,
  FLAG_MIRROR_DROPPED,
} from "./format.ts";
import { RecordAssembler } from "./reader.ts";
import { type Recovery, recover } from "./recovery.ts";
import { listSegments, SegmentReader, segmentName } from "./segments.ts";

/** One block, or a run of blocks of which nothing more is to be said. */
export interface BlockDescription {
  file: string;
  /** Index in the file, and how many alike follow (1 for a single block). */
  block: number;
  count: number;
  sequence: number;
  /** `data`, `open`, `seal`; or why it is none of them. */
  kind: BlockHeader["kind"] | BlockFault | "leftover";
  header?: {
    epoch: number;
    writeStart: number;
    durableThrough: number;
    logStart: number;
    firstLsn: number;
    recordCount: number;
    payloadBytes: number;
    /** Hex. */
    hash: string;
    previousHash: string;
    mirrorDropped: boolean;
    openedUs?: bigint;
  };
  /** Records that end in this block. */
  records?: { lsn: bigint; timeUs: bigint; sizeBytes: number }[];
}

export interface LogInspection {
  directory: string;
  segmentBlocks: number;
  segments: number;
  /** What recovery would say now, or the error it would end in. */
  verdict: Pick<Recovery, "nextSequence" | "nextLsn" | "logStart" | "topEpoch" | "torn"> | { error: string };
  blocks: Generator<BlockDescription>;
}

/** A writer that is always ahead of the look at it is not waited for. */
const LOOKS_MAX = 5;

/** Looks at every block of a log without changing anything; works on a damaged log and beside a living writer. */
export function inspectLog(disk: Disk, directory: string): LogInspection {
  let verdict: LogInspection["verdict"];
  let segmentBlocks = WAL_SEGMENT_BLOCKS;
  let chainStart = 0;
  try {
    const found = look(disk, directory);
    const { nextSequence, nextLsn, logStart, topEpoch, torn } = found;
    verdict = { nextSequence, nextLsn, logStart, topEpoch, torn };
    segmentBlocks = found.segmentBlocks;
    chainStart = logStart;
  } catch (error) {
    if (!isStoreError(error)) throw error;
    verdict = { error: `${error.code}: ${error.message}` };
    const file = listSegments(disk, directory)[0];
    const stat = file === undefined ? undefined : disk.stat(`${directory}/${segmentName(file)}`);
    if (stat !== undefined) segmentBlocks = Math.max(1, Math.floor(stat.sizeBytes / 4096));
  }
  const segments = listSegments(disk, directory);
  const blocks = describe(disk, directory, { segments, segmentBlocks, chainStart });
  return { directory, segmentBlocks, segments: segments.length, verdict, blocks };
}

/**
 * What recovery finds. Beside a living writer a block may be there that came after the one before it was looked at, which
 * reads as damage; what is damaged in truth still is at another look.
 */
function look(disk: Disk, directory: string): Recovery {
  let before: string | undefined;
  for (let looks = 1; ; looks++) {
    try {
      return recover({ disk, directories: [directory], segmentBlocks: WAL_SEGMENT_BLOCKS });
    } catch (error) {
      if (!isStoreError(error) || looks === LOOKS_MAX || error.message === before) throw error;
      before = error.message;
    }
  }
}

function* describe(
  disk: Disk,
  directory: string,
  log: { segments: number[]; segmentBlocks: number; chainStart: number },
): Generator<BlockDescription> {
  const { segmentBlocks } = log;
  const reader = new SegmentReader(disk, directory, segmentBlocks);
  const assembler = new RecordAssembler();
  const end = chainFrom(Math.max(log.chainStart, (log.segments[0] ?? 0) * segmentBlocks));
  let run: BlockDescription | undefined;
  for (const ordinal of log.segments) {
    for (let block = 0; block < segmentBlocks; block++) {
      const sequence = ordinal * segmentBlocks + block;
      const sound = soundBlock(reader, sequence, undefined);
      const isLinked = sound !== undefined && sequence === end.nextSequence && links(end, sound);
      const kind =
        sound === undefined ? faultOf(reader, sequence) : isLinked ? sound.header.kind : "leftover";
      if (sound === undefined && run?.kind === kind && run.file === segmentName(ordinal)) {
        run.count++;
        continue;
      }
      if (run !== undefined) yield run;
      run = { file: segmentName(ordinal), block, count: 1, sequence, kind };
      if (sound === undefined) continue;
      const hash = blockHash(sound.used);
      run.header = describeHeader(sound.header, sound.payload, hash);
      if (isLinked) {
        advance(end, sound, hash);
        const entries = assembler.add(sound.header, sound.payload) ?? [];
        run.records = entries.map(({ lsn, timeUs, payload }) => ({
          lsn,
          timeUs,
          sizeBytes: payload.byteLength,
        }));
      }
    }
  }
  if (run !== undefined) yield run;
}

function faultOf(reader: SegmentReader, sequence: number): BlockFault {
  const block = decodeBlock(reader.block(sequence)!, sequence);
  return block.fault ?? "damaged";
}

function describeHeader(
  header: BlockHeader,
  payload: Uint8Array,
  hash: Uint8Array,
): BlockDescription["header"] & {} {
  const { epoch, writeStart, durableThrough, logStart, firstLsn, recordCount } = header;
  const open = header.kind === "open" ? decodeOpenPayload(payload) : undefined;
  return {
    epoch,
    writeStart,
    durableThrough,
    logStart,
    firstLsn,
    recordCount,
    payloadBytes: header.length,
    hash: Buffer.from(hash).toString("hex"),
    previousHash: Buffer.from(header.previousHash).toString("hex"),
    mirrorDropped: (header.flags & FLAG_MIRROR_DROPPED) !== 0,
    ...(open === undefined ? {} : { openedUs: open.openedUs }),
  };
}

const MEANING: Record<BlockFault | "leftover", string> = {
  empty: "never written",
  stale: "a block of another place: recycled, not overwritten yet",
  foreign: "a block of another store",
  version: "a block of a later format",
  damaged: "no sound block",
  leftover: "sound, but not part of the chain",
};

/** One line for one description. */
export function renderBlock(description: BlockDescription): string {
  const { file, block, count, sequence, kind, header, records } = description;
  const place = `${file} ${String(block).padStart(5)}${count > 1 ? `-${block + count - 1}` : ""}  #${sequence}`;
  if (header === undefined)
    return `${place}  ${MEANING[kind as BlockFault]}${count > 1 ? ` (${count} blocks)` : ""}`;
  const chain = `epoch ${header.epoch}, write ${header.writeStart}, durable ${header.durableThrough}, ${header.hash.slice(0, 8)}`;
  const extra = header.mirrorDropped ? ", mirror dropped" : "";
  if (kind === "leftover") return `${place}  ${MEANING[kind]} (${chain})`;
  if (kind !== "data") return `${place}  ${kind} (${chain}${extra})`;
  const lsns =
    records?.map(({ lsn, sizeBytes }) => `${lsn} (${sizeBytes} B)`).join(", ") || "part of a record";
  return `${place}  LSN ${lsns}  (${chain})`;
}
