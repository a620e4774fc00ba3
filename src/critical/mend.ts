import { crc32c } from "@node-rs/crc32";
import type { Disk } from "../disk/disk.ts";
import { isStoreError } from "../errors.ts";
import { flipBit, flippedBit, flipUntil } from "../flipped-bit.ts";
import { WAL_SEGMENT_BLOCKS } from "../limits.ts";
import { BLOCK_BYTES, decodeBlock } from "../wal/format.ts";
import { recover } from "../wal/recovery.ts";
import { segmentName } from "../wal/segments.ts";
import { type CriticalCheckOptions, type CriticalProblem, checkCritical } from "./check.ts";
import { Critical } from "./critical.ts";
import { BLOCK_HEADER_BYTES, decodeBlockHeader } from "./history-format.ts";

export interface MendOptions extends CriticalCheckOptions {
  /** Puts a copy of a damaged file aside before it is changed. */
  quarantine: (path: string) => void;
}

/** Blocks mended in one repair: more than a few flipped bits are a failing device, not an accident. */
const MENDED_BLOCKS_MAX = 64;

/**
 * Mends what is certain: log blocks from the mirror, or by turning back the one bit that explains a block's checksum
 * (kept only if the block then links to both neighbours); history blocks likewise; a damaged snapshot by a new one,
 * if the state opens without it. Nothing acknowledged is ever cut off. Returns what was done, a sentence each.
 *
 * The caller sees to it that nobody has the store open.
 */
export async function mendCritical(options: MendOptions): Promise<string[]> {
  const actions: string[] = [];
  let { problems } = await checkCritical(options);
  const has = (part: CriticalProblem["part"]) => problems.some((problem) => problem.part === part);
  if (options.mirror === undefined && has("log")) {
    actions.push(...mendLog(options));
    ({ problems } = await checkCritical(options));
  }
  if (has("history")) {
    actions.push(...(await mendHistory(options, problems)));
    ({ problems } = await checkCritical(options));
  }
  const opens = options.mirror !== undefined || !has("log");
  if (problems.length > 0 && opens) actions.push(...(await reopen(options, problems)));
  return actions;
}

/** An opening for writing takes blocks from the mirror, makes the identity anew, and can write a new snapshot. */
async function reopen(options: MendOptions, problems: CriticalProblem[]): Promise<string[]> {
  const { disk, directory, storeId, mirror, quarantine } = options;
  const actions: string[] = [];
  const snapshots = problems.filter(({ part }) => part === "snapshot");
  for (const { error } of snapshots) quarantine(String(error!.context["path"]));
  let critical: Critical;
  try {
    const log = mirror === undefined ? {} : { mirror };
    critical = Critical.open({ disk, directory, storeId, log, socket: false });
  } catch (error) {
    if (isStoreError(error)) return actions;
    throw error;
  }
  try {
    for (const { directory: where, blocks } of critical.stats().log?.open.repaired ?? []) {
      actions.push(`took ${blocks} log blocks in ${where} from the other copy`);
    }
    if (problems.some(({ part }) => part === "identity")) actions.push("made the identity file anew");
    // Two, so that whichever slot was damaged is written over.
    for (const _ of snapshots) await critical.snapshot();
    if (snapshots.length > 0)
      actions.push(`wrote a new snapshot in the place of ${snapshots.length} damaged`);
  } finally {
    await critical.close();
  }
  return actions;
}

/** Turns back flipped bits in blocks that are proven to have been written. */
function mendLog({ disk, directory, storeId, quarantine }: MendOptions): string[] {
  const actions: string[] = [];
  const kept = new Set<string>();
  for (let count = 0; count < MENDED_BLOCKS_MAX; count++) {
    const bad = firstBadBlock({ disk, directory, storeId });
    if (bad === undefined) break;
    const path = `${directory}/${segmentName(Math.floor(bad.sequence / bad.segmentBlocks))}`;
    const offset = (bad.sequence % bad.segmentBlocks) * BLOCK_BYTES;
    const bytes = readBytes(disk, path, offset, BLOCK_BYTES);
    const before = Buffer.from(bytes);
    const sound = () => decodeBlock(bytes, bad.sequence, storeId).fault === undefined;
    if (!flipUntil(bytes, BLOCK_BYTES, sound)) break;
    if (!kept.has(path)) quarantine(path);
    kept.add(path);
    writeBytes(disk, path, offset, bytes);
    // The chain decides: the next block carries this one's hash.
    if (firstBadBlock({ disk, directory, storeId })?.sequence === bad.sequence) {
      writeBytes(disk, path, offset, before);
      break;
    }
    actions.push(`mended log block ${bad.sequence} (${path}) by turning back a flipped bit`);
  }
  return actions;
}

function firstBadBlock({
  disk,
  directory,
  storeId,
}: Pick<MendOptions, "disk" | "directory" | "storeId">):
  | { sequence: number; segmentBlocks: number }
  | undefined {
  try {
    recover({ disk, directories: [directory], storeId, segmentBlocks: WAL_SEGMENT_BLOCKS });
    return undefined;
  } catch (error) {
    if (!isStoreError(error, "ERR_STORE_CORRUPT")) throw error;
    const { sequence, file, block } = error.context as { sequence?: number; file?: string; block?: number };
    if (sequence === undefined || file === undefined || block === undefined) return undefined;
    const ordinal = Number(/\d+/.exec(file)![0]);
    return { sequence, segmentBlocks: (sequence - block) / ordinal };
  }
}

/** The chain's links prove a mended block: it is kept only if the trail goes on past it. */
async function mendHistory(options: MendOptions, problems: CriticalProblem[]): Promise<string[]> {
  const { disk, quarantine } = options;
  const actions: string[] = [];
  let where = problems.find(({ part }) => part === "history")?.where;
  for (let count = 0; where !== undefined && count < MENDED_BLOCKS_MAX; count++) {
    const match = /^(.*), offset (\d+)$/.exec(where);
    if (match === null || disk.stat(match[1]!) === undefined) break;
    const [path, offset] = [match[1]!, Number(match[2])];
    const header = Buffer.from(readBytes(disk, path, offset, BLOCK_HEADER_BYTES));
    const sound = () => decodeBlockHeader(header) !== undefined;
    if (!sound() && !flipUntil(header, BLOCK_HEADER_BYTES, sound)) break;
    const head = decodeBlockHeader(header)!;
    const sizeBytes = BLOCK_HEADER_BYTES + head.filterBytes + head.storedBytes;
    if (offset + sizeBytes > disk.stat(path)!.sizeBytes) break;
    const bytes = Buffer.from(readBytes(disk, path, offset, sizeBytes));
    const before = Buffer.from(bytes);
    header.copy(bytes);
    const checked = bytes.subarray(4);
    const bit = flippedBit(checked, bytes.readUInt32LE(0), crc32c(checked));
    if (bit !== undefined) flipBit(checked, bit);
    else bytes.writeUInt32LE(crc32c(checked), 0);
    quarantine(path);
    writeBytes(disk, path, offset, bytes);
    const left = (await checkCritical(options)).problems.find(({ part }) => part === "history")?.where;
    if (left === where) {
      writeBytes(disk, path, offset, before);
      break;
    }
    actions.push(`mended a history block (${path}, offset ${offset}) by turning back a flipped bit`);
    where = left;
  }
  return actions;
}

function readBytes(disk: Disk, path: string, offset: number, sizeBytes: number): Uint8Array {
  const file = disk.open(path, { access: "read" });
  try {
    const bytes = new Uint8Array(sizeBytes);
    file.readSync(bytes, offset);
    return bytes;
  } finally {
    file.close();
  }
}

function writeBytes(disk: Disk, path: string, offset: number, bytes: Uint8Array): void {
  const file = disk.open(path, { access: "write" });
  try {
    file.writeSync(bytes, offset);
    file.syncSync();
  } finally {
    file.close();
  }
}
