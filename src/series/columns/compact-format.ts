import { type ContextSource, classCount } from "./contexts.ts";

/** Rows after which a long page can be begun anew: reading a row decodes so many at most. */
export const GROUP_ROWS = 16_384;

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
