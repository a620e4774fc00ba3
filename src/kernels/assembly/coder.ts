// The residual coder end to end: one call from the loader codes a chunk, one decodes it.

import { CONTEXTS, MAP, MAP_CONTEXTS, SYMBOLS } from "./memory";
import {
  decodeOne, decodePass, encodePass, modelsReset, stepsCost, stepsTaken, streamClosed, streamEncode, streamEnd,
  streamOpen,
} from "./models";
import { narrowDecodeRest, narrowEncodeRest, narrowSmall, narrowSymbols } from "./narrow";
import {
  groupDrifted, MAP_MODEL, residualMap, residualMapAll, residualPrepare, residualRestore,
} from "./residual";
import { wideDecodeRest, wideEncodeRest, wideSymbols } from "./wide";

const MODELS_USED: u32 = MAP_MODEL + 8;

let rawBits: usize = 0;
let streamStart: usize = 0;

/** Codes the prepared chunk (see residualSetup) of `count` lanes, a multiple of 16. */
export function residualEncode(count: usize, width: usize, mapped: bool, leading: bool): void {
  modelsReset(MAP_MODEL, MODELS_USED);
  if (mapped) {
    residualMap(count, width);
    encodePass(MAP, MAP_CONTEXTS, count >> 4);
  } else residualMapAll(count);
  const lanes = residualPrepare(count, width, true);
  if (width <= 2) {
    narrowSymbols(lanes);
    encodePass(SYMBOLS, CONTEXTS, lanes);
    rawBits = narrowEncodeRest(lanes, leading);
  } else {
    wideSymbols(lanes);
    encodePass(SYMBOLS, CONTEXTS, lanes);
    rawBits = wideEncodeRest(lanes);
  }
  streamStart = streamEncode();
}

/** Bits that coding lanes [0, count) takes, the first quarter not counted: models need that to learn. Narrow only. */
export function narrowCost(count: usize, leading: bool): f64 {
  modelsReset(MAP_MODEL, MODELS_USED);
  residualMapAll(count);
  const lanes = residualPrepare(count, 2, true);
  narrowSymbols(lanes);
  encodePass(SYMBOLS, CONTEXTS, lanes);
  const bits = stepsCost(lanes >> 2);
  const before = stepsTaken();
  const raw = narrowEncodeRest(lanes, leading);
  return bits + stepsCost(before) + <f64>raw;
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

/** Decodes the map: its contexts depend on what was decoded just before, so it goes group by group. */
function decodeMap(groups: usize, width: usize): void {
  let last: u32 = 0, beforeLast: u32 = 0;
  for (let g: usize = 0; g < groups; g++) {
    const symbol = decodeOne(g & 3, MAP_MODEL + groupDrifted(g, width) + (last << 1) + (beforeLast << 2));
    beforeLast = last;
    last = u32(symbol != 0);
    store<u8>(MAP + g, last);
  }
}

/** Fills OUTPUT; returns the raw bits read, or -1 for a stream that no encoder writes. */
export function residualDecode(
  count: usize, width: usize, mapped: bool, leading: bool, stream: usize, streamBytes: usize,
): i32 {
  modelsReset(MAP_MODEL, MODELS_USED);
  streamOpen(stream, streamBytes);
  if (mapped) decodeMap(count >> 4, width);
  else residualMapAll(count);
  const lanes = residualPrepare(count, width, false);
  if (!decodePass(SYMBOLS, CONTEXTS, lanes)) return -1;
  const bits = width <= 2 ? narrowDecodeRest(lanes, leading) : wideDecodeRest(lanes, width);
  if (bits < 0 || !streamClosed()) return -1;
  if (width <= 2) narrowSmall(lanes);
  residualRestore(count, width);
  return bits;
}
