// The hot loops, compiled to one WebAssembly module. Every pointer is checked by the loader before it gets here.
export { addressOf } from "./memory";
export { residualExponent, residualSameGroups, residualSetup } from "./residual";
export { wideScale } from "./wide";
export { encodedRawBits, encodedStream, encodedStreamBytes, narrowCost, residualDecode, residualEncode } from "./coder";
export { xorInto, splitPlanes, joinPlanes } from "./planes";
export { cutScan, cutReset, cutWarm, gearAt } from "./cut";
