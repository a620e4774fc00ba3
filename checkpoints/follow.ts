import { checkName } from "../src/names.ts";
import { checkOptions, whole } from "../src/options.ts";
import type { VersionStore } from "../src/versions/version-store.ts";
import type { RefMoves } from "./ref-moves.ts";
import type { Registry, VersionRecord } from "./registry.ts";

export interface FollowOptions {
  /** Ends the following; the loop over it ends without an error. */
  signal?: AbortSignal;
  /** Begin after this version. Default: after the newest there is now, so that only later ones come. */
  after?: number;
}

/** How often another process's saves are looked for: the mark of the version log is read, 56 bytes. */
const POLL_MS = 20;

/**
 * Each new version of a ref, in order, as soon as it is durable, whichever process saved it. Versions that were pruned
 * before they were seen are left out. A ref that does not exist yet is waited for.
 *
 * @throws `ERR_INVALID_ARGUMENT`
 */
export async function* followRef(
  versions: VersionStore,
  registry: Registry,
  ref: string,
  { signal, after, moves }: FollowOptions & { moves: RefMoves },
): AsyncGenerator<VersionRecord, void, undefined> {
  checkName("ref", ref);
  checkOptions("follow", { after }, { after: { ...whole(0), may: "a version's number, or 0" } });
  if (signal?.aborted) return;
  versions.refresh();
  let seen = after ?? registry.newest(ref)?.version ?? 0;
  let seq = -1n;
  for (;;) {
    versions.refresh();
    if (versions.seq !== seq) {
      seq = versions.seq;
      const newest = registry.newest(ref)?.version ?? 0;
      while (seen < newest) {
        seen += 1;
        const record = registry.get(ref, seen);
        if (record !== undefined) yield record;
        if (signal?.aborted) return;
      }
    }
    await nextLook(signal, moves);
    if (signal?.aborted) return;
  }
}

/** Until a ref has moved in this process, it is time to look for other processes' saves, or the signal says to end. */
function nextLook(signal: AbortSignal | undefined, moves: RefMoves): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      clearTimeout(timer);
      forget();
      signal?.removeEventListener("abort", look);
      resolve();
    };
    const timer = setTimeout(look, POLL_MS);
    const forget = moves.on(look);
    signal?.addEventListener("abort", look, { once: true });
  });
}
