// The hot loops, compiled to one WebAssembly module. Every pointer is checked by the loader before it gets here.
export { addressOf } from "./memory";
export { xorInto, splitPlanes, joinPlanes } from "./planes";
export { cutScan, cutReset, cutWarm, gearAt } from "./cut";
export { mapChanged } from "./map";
export { residualExponent, residualSetup } from "./residual";
export {
  coderSetup, encodedRawBits, encodedStream, encodedStreamBytes, encodedTables, encodedTablesBytes, residualDecode,
  residualEncode,
} from "./coder";
export { huffmanDecode, huffmanEncode, huffmanLengths, huffmanPlan, huffmanUse } from "./huffman";
export { packedSetTop, packedSetup, packedTop } from "./packed/levels";
export { packedBits, packedChanged, packedRead, packedWrite } from "./packed/pack";
export {
  packedCountLanes, packedCountPatches, packedGapBytes, packedGaps, packedHighBytes, packedHighs, packedLaneBytes, packedLanes,
  packedPatch,
} from "./packed/patches";
export { packedLowBytes, packedMapped, packedPlan, packedUnchanged, packedWidths } from "./packed/plan";
export { sampleCost, sampleMark, samplePrepare, sampleThreshold } from "./sample";
export {
  bytesDecode, bytesEncode, frequencyTable, histogram, sparseFill, sparseList, useFrequencies,
} from "./bytes";
export { streamEnd } from "./rans";
export { addBack, differ, turn, turnBack } from "./transform";
export {
  columnCells, columnClasses, columnCost, columnCount, columnCountedCost, columnMixContexts, columnPutRaw, columnSort,
  columnTokens, columnValueClasses, columnValues,
} from "./columns-bins";
export {
  columnFromAverage, columnFromDecimal, columnFromMultiples, columnFromUlps, columnNarrow, columnToDecimal, columnToMultiples,
  columnUlps, columnWiden,
} from "./columns-lattice";
export { columnsAddressOf } from "./columns-memory";
export { columnPack, columnPlanBlock, columnUnpackBlocks } from "./columns-pack";
export { columnDivide, columnDivisor, columnPredict, columnRestore, columnScale } from "./columns-predict";
export { columnDecode, columnEncode, columnTables } from "./columns-rans";
export { columnMake, columnRows } from "./columns-rows";
