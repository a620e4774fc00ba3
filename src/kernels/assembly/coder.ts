// The residual coder end to end: one call codes a chunk, one decodes it.

import { CONTEXTS, SYMBOLS } from "./memory";
import { binsDecodeRest, binsEncodeRest, binsSetup, binsSymbols } from "./bins";
import { mapAll, mapChanged, mapDecode, mapEncode, MAP_MODEL } from "./map";
import { decodePass, encodePass, modelsReset, streamClosed, streamEncode, streamEnd, streamOpen } from "./models";
import { residualBins, residualPrepare, residualRestore } from "./residual";

const MODELS_USED: u32 = MAP_MODEL + 8;

let rawBits: usize = 0;
let streamStart: usize = 0;

/** Sets how residuals are cut into bins: see residual.ts and bins.ts. */
export function coderSetup(threshold: i32, relative: bool, zeros: bool, width: usize): void {
  residualBins(threshold, relative, width);
  binsSetup(zeros);
}

/** Codes the chunk of `count` lanes, a multiple of 16. */
export function residualEncode(count: usize, width: usize, mapped: bool): void {
  modelsReset(MAP_MODEL, MODELS_USED);
  if (mapped) {
    mapChanged(count, width);
    mapEncode(count, width);
  } else mapAll(count);
  const lanes = residualPrepare(count, width, true);
  binsSymbols(lanes, width);
  encodePass(SYMBOLS, CONTEXTS, lanes);
  rawBits = binsEncodeRest(lanes, width);
  streamStart = streamEncode();
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

/** Fills OUTPUT; returns the raw bits read, or -1 for a stream that no encoder writes. */
export function residualDecode(count: usize, width: usize, mapped: bool, stream: usize, streamBytes: usize): i32 {
  modelsReset(MAP_MODEL, MODELS_USED);
  streamOpen(stream, streamBytes);
  if (mapped) mapDecode(count, width);
  else mapAll(count);
  const lanes = residualPrepare(count, width, false);
  if (!decodePass(SYMBOLS, CONTEXTS, lanes)) return -1;
  const bits = binsDecodeRest(lanes, width);
  if (bits < 0 || !streamClosed()) return -1;
  residualRestore(count, width);
  return bits;
}
