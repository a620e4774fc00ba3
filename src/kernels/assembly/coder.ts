// The residual coder end to end: one call codes a chunk, one decodes it.

import { CONTEXTS, TABLES, TOKENS } from "./memory";
import { clustersFind } from "./clusters";
import { countTokens } from "./entropy";
import { mapAll, mapChanged, mapCount, mapDecode, mapEncode } from "./map";
import { farRead, rawsRead, rawsWrite } from "./raw-bits";
import { streamBegin, streamClosed, streamEnd, streamFinish, streamOpen, tokensDecode, tokensEncode } from "./rans";
import { hasDrift, residualBins, residualPrepare, residualRestore } from "./residual";
import { contextsSetup, placesFind, tablesRead, tablesWrite } from "./tables";
import { rawSizesFind, residualsFind, tokensFind, tokensSetup } from "./tokens";
import { BYTES_31 } from "./vectors";

let rawBits: usize = 0;
let tablesBytes: usize = 0;
let streamStart: usize = 0;

/** Sets how residuals are cut into tokens: see residual.ts and tokens.ts. */
export function coderSetup(threshold: i32, relative: bool, zeros: bool, width: usize): void {
  residualBins(threshold, relative, width);
  tokensSetup(zeros);
}

/** How many levels the contexts of `count` lanes, a multiple of 16, have. */
export function levelsUsed(count: usize): u32 {
  let most = i8x16.splat(0);
  for (let at = CONTEXTS; at < CONTEXTS + count; at += 16) most = v128.max<u8>(most, v128.load(at));
  let largest: u32 = 0;
  for (let lane = 0; lane < 16; lane++) {
    largest = max(largest, <u32>i8x16.extract_lane_u(most, 0));
    most = v128.shuffle<i8>(most, most, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0);
  }
  return (largest >>> 3) + 1;
}

/** Codes the chunk of `count` lanes, a multiple of 16. */
export function residualEncode(count: usize, width: usize, mapped: bool): void {
  if (mapped) {
    mapChanged(count, width);
    mapCount(count, width);
  } else mapAll(count);
  const lanes = residualPrepare(count, width, true);
  tokensFind(lanes, width, true);
  const levels = levelsUsed(lanes);
  countTokens(lanes, levels << 3);
  clustersFind(levels << 3, hasDrift ? 1 : 8);
  contextsSetup(levels, hasDrift);
  tablesBytes = tablesWrite(mapped);
  rawBits = rawsWrite(lanes, width);
  placesFind(lanes, true);
  streamBegin();
  tokensEncode(lanes);
  if (mapped) mapEncode(count);
  streamStart = streamFinish();
}

export function encodedTables(): usize {
  return TABLES;
}

export function encodedTablesBytes(): usize {
  return tablesBytes;
}

export function encodedStream(): usize {
  return streamStart;
}

export function encodedStreamBytes(): usize {
  return streamEnd() - streamStart;
}

export function encodedRawBits(): usize {
  return rawBits;
}

/** Fills OUTPUT from tables and stream at `coded`; returns the raw bits read, or -1 for what no encoder writes. */
export function residualDecode(count: usize, width: usize, mapped: bool, coded: usize, codedBytes: usize): i32 {
  const stream = tablesRead(coded, codedBytes, mapped, hasDrift);
  if (stream == 0 || !streamOpen(stream, coded + codedBytes - stream)) return -1;
  if (mapped) mapDecode(count, width);
  else mapAll(count);
  const lanes = residualPrepare(count, width, false);
  placesFind(lanes, false);
  tokensDecode(lanes);
  if (!streamClosed()) return -1;
  for (let i: usize = 0; i < lanes; i += 16) {
    v128.store(TOKENS + i, v128.and(v128.load(TOKENS + i), v128.load(BYTES_31)));
  }
  rawSizesFind(lanes);
  rawsRead(lanes, width);
  residualsFind(lanes, width);
  const bits = farRead(lanes, width);
  if (bits < 0) return -1;
  residualRestore(count, width);
  return bits;
}
