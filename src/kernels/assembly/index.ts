// The hot loops, compiled to one WebAssembly module. Every pointer is checked by the loader before it gets here.
export { heapBase } from "./memory";
export { xorInto, splitPlanes, joinPlanes } from "./planes";
export { cutScan, cutReset, cutWarm, gearAt } from "./cut";
