// The residual coder end to end: what the loader calls to choose its parameters, to code a chunk and to decode one.

import { CONTEXTS, SYMBOLS } from "./memory";
import { binsDecodeRest, binsEncodeRest, binsSetup, binsSymbols, binsThreshold } from "./bins";
import { mapAll, mapChanged, mapDecode, mapEncode, MAP_MODEL, mapThin } from "./map";
import {
  decodePass, encodePass, modelsReset, stepsCost, streamClosed, streamEncode, streamEnd, streamOpen,
} from "./models";
import { residualBins, residualPrepare, residualRestore } from "./residual";

const MODELS_USED: u32 = MAP_MODEL + 8;

let rawBits: usize = 0;
let streamStart: usize = 0;

/** Sets how residuals are cut into bins: see residual.ts and bins.ts. */
export function coderSetup(threshold: i32, zeros: bool, width: usize): void {
  residualBins(threshold, width);
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

/** Marks a sample of at most about `most` lanes, of those that a map would keep; returns how many lanes those are. */
export function sampleMark(count: usize, width: usize, mapped: bool, most: usize): usize {
  let lanes = count;
  if (mapped) lanes = mapChanged(count, width) << 4;
  else mapAll(count);
  mapThin(count, (lanes + most - 1) / most);
  return lanes;
}

/** The threshold to start from, by the sample. */
export function sampleThreshold(count: usize, width: usize): i32 {
  return binsThreshold(residualPrepare(count, width, true), width);
}

/** Bits that the sample takes. Of its first symbols only the last `share` of 4 quarters count, so that models can learn. */
export function sampleCost(count: usize, width: usize, quarters: usize): f64 {
  modelsReset(MAP_MODEL, MODELS_USED);
  const lanes = residualPrepare(count, width, true);
  binsSymbols(lanes, width);
  encodePass(SYMBOLS, CONTEXTS, lanes);
  if (quarters < 4) return stepsCost((lanes * (4 - quarters)) >> 2);
  return <f64>binsEncodeRest(lanes, width) + stepsCost(0);
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
