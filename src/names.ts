import { StoreError } from "./errors.ts";
import { NAME_BYTES_MAX } from "./limits.ts";

/**
 * Names of refs and tags: letters, digits and `. _ - / +`, beginning with a letter, digit or underscore, so that they
 * read well on a command line and never look like a selector, a flag or a number.
 */
export function checkName(kind: "ref" | "tag", name: string): string {
  const problem = problemOf(kind, name);
  if (problem === undefined) return name;
  throw new StoreError("ERR_INVALID_ARGUMENT", `${JSON.stringify(name)} is no ${kind} name: ${problem}`, {
    context: { kind, name },
    hint: `Use letters, digits and . _ - + /, at most ${NAME_BYTES_MAX} of them, for example "btc-lstm".`,
  });
}

function problemOf(kind: string, name: string): string | undefined {
  if (typeof name !== "string" || name === "") return "it is empty";
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) return `it is longer than ${NAME_BYTES_MAX} bytes`;
  const wrong = /[^A-Za-z0-9._+/-]/.exec(name);
  if (wrong !== null) return `it holds ${JSON.stringify(wrong[0])}`;
  if (!/^[A-Za-z0-9_]/.test(name)) return `it begins with ${JSON.stringify(name[0])}`;
  if (kind === "tag" && /^\d+$/.test(name)) return "a number is a version";
  if (kind === "tag" && name === "latest") return "it always means the newest version";
  return undefined;
}

/** The names nearest to one that does not exist, for a hint: few edits away, or one a part of the other. */
export function nearestNames(name: string, known: Iterable<string>, limit = 3): string[] {
  const scored: { candidate: string; distance: number }[] = [];
  for (const candidate of known) {
    const distance = candidate.includes(name) || name.includes(candidate) ? 1 : editDistance(name, candidate);
    if (distance <= Math.max(2, name.length / 3)) scored.push({ candidate, distance });
  }
  scored.sort((a, b) => a.distance - b.distance || (a.candidate < b.candidate ? -1 : 1));
  return scored.slice(0, limit).map((each) => each.candidate);
}

/** Levenshtein's distance: insertions, deletions and substitutions that lead from one text to the other. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(previous[j]! + 1, current[j - 1]! + 1, substitution));
    }
    previous = current;
  }
  return previous[b.length]!;
}
