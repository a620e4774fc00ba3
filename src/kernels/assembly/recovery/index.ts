/**
 * What an opening does with every block and every record: checks the chain, places the records, applies them to rows of
 * numbers. In WebAssembly because a process opens once, before anything of its code is compiled well: this is compiled in
 * milliseconds and runs at nearly full speed from its first call. The caller judges whatever is not plain.
 */
export { reserve, take } from "./memory";
export {
  blockChecksums,
  blockLengths,
  chainOfStore,
  chainState,
  followBlocks,
  keepBlocks,
  keptBytes,
  passBlocks,
  seedBlocks,
} from "./chain";
export { beginRecords, placeAt, placeRecords, recordCount } from "./records";
export { beginTables, clearTable, countRows, defineTable, indexRows, loadRows, makeIndex } from "./rows";
export {
  beforeRows,
  beforesSoFar,
  beforeYours,
  beginReplay,
  noteList,
  notesSoFar,
  replay,
  replayPosition,
  replayRecord,
  replayResume,
  sequenceTable,
  setFence,
} from "./replay";
export { settleRows } from "./order";
