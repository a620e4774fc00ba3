import { type ContextSource, classCount } from "./contexts.ts";

/** Rows after which a long page can be begun anew: reading a row decodes so many at most. Lanes divide so many at a time. */
export const GROUP_ROWS = 16_384;

/** Lanes of a stream; one of fewer rows than these has four, since states take room. */
export const LANES_MAX = 16;
const LANED_ROWS_MIN = 4096;

/** Rows that follow each other in a lane, of a group of as many rows: contexts by the bin before begin anew after them. */
export const laneRows = (stretchRows: number, groupRows: number) =>
  Math.ceil(stretchRows / (groupRows < LANED_ROWS_MIN ? 4 : LANES_MAX));

export interface ContextChoice {
  sources: ContextSource[];
  /** Classes of the bin before, by bin; undefined if it is no context. */
  classes: Uint8Array | undefined;
}

export const contextCount = ({ sources, classes }: ContextChoice) =>
  sources.reduce((product, source) => product * classCount(source), 1) * ownClasses(classes);

export const ownClasses = (classes: Uint8Array | undefined) => (classes ? Math.max(...classes) + 1 : 1);

export const zigzag = (value: bigint) => BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
export const unzigzag = (value: bigint) => BigInt.asIntN(64, (value >> 1n) ^ -(value & 1n));
