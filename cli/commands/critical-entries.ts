import { given } from "../arguments.ts";
import type { KeyRange } from "../library.ts";
import { printable } from "../render/text.ts";

/** Reads page after page until there is no next one. */
export async function readAll<T>(
  range: KeyRange,
  read: (range: KeyRange) => Promise<{ items: T[]; next: string | undefined }>,
): Promise<T[]> {
  const all: T[] = [];
  let part = range;
  for (;;) {
    const { items, next } = await read(part);
    for (const item of items) all.push(item);
    const left = range.limit === undefined ? undefined : range.limit - all.length;
    if (next === undefined || left === 0) return all;
    // The key after `next` in code-unit order: the upper bound itself is no longer wanted.
    const bound = range.reverse === true ? { to: `${next}\0` } : { from: next };
    part = given({ ...range, ...bound, limit: left });
  }
}

/** An entry, as messages name it. */
export function named(map: string, key: string): string {
  return `${printable(map)} ${printable(key)}`;
}
