import { checkRange } from "./arguments.ts";

/** Which keys, in the order of their UTF-16 code units. */
export interface KeyRange {
  /** First key wanted. */
  from?: string;
  /** First key no longer wanted. */
  to?: string;
  /** Only keys that start so; narrows `from` and `to`. */
  prefix?: string;
  reverse?: boolean;
  /** At most so many entries. */
  limit?: number;
}

/** The bounds of a range with its prefix worked in. @throws ERR_INVALID_ARGUMENT */
export function bounds(range: KeyRange): { from: string | undefined; to: string | undefined } {
  checkRange(range);
  const { prefix } = range;
  let { from, to } = range;
  if (prefix !== undefined && prefix !== "") {
    if (from === undefined || from < prefix) from = prefix;
    const end = afterPrefix(prefix);
    if (end !== undefined && (to === undefined || to > end)) to = end;
  }
  return { from, to };
}

/** The first string after all that start with `prefix`, if there is one. */
function afterPrefix(prefix: string): string | undefined {
  for (let length = prefix.length; length > 0; length--) {
    const last = prefix.charCodeAt(length - 1);
    if (last < 0xffff) return prefix.slice(0, length - 1) + String.fromCharCode(last + 1);
  }
  return undefined;
}
