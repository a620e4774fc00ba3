import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { builtFile } from "../built.ts";
import type { Disk } from "../disk/disk.ts";
import { type ChunkEntry, decodeEntry, decodePackEnd, type PackEnd } from "./chunk-index.ts";
import { DIGEST_BYTES, digestKey } from "./digest.ts";
import { indexExists } from "./index-files.ts";
import { LmdbIndex } from "./lmdb-index.ts";

/** What the index on disk says, read without trusting it. */
export interface IndexProbe {
  /** Absent: there is no index. Crashed: reading it ended the process that tried. */
  state: "absent" | "read" | "crashed";
  entries: Map<string, ChunkEntry>;
  packEnds: Map<bigint, PackEnd>;
  /** Keys whose value is not what was stored, or that a look-up does not find although a scan does. */
  damagedKeys: number;
  /** How the child ended, when it crashed. */
  crash?: string;
}

/**
 * Reads the whole index in a process of its own: LMDB maps its file and has no checksums, so a damaged page can end
 * the process that touches it.
 */
export async function probeIndex(
  disk: Disk,
  indexDirectory: string,
  signal?: AbortSignal,
): Promise<IndexProbe> {
  const probe: IndexProbe = { state: "read", entries: new Map(), packEnds: new Map(), damagedKeys: 0 };
  if (!indexExists(disk, indexDirectory)) return { ...probe, state: "absent" };
  const script = fileURLToPath(builtFile(import.meta.url, "./index-probe.child.js"));
  const child = spawn(process.execPath, [script, indexDirectory], {
    stdio: ["ignore", "pipe", "ignore"],
    signal,
  });
  const ended = new Promise<string | undefined>((resolve) => {
    child.on("error", (error) => resolve(error.message));
    child.on("close", (code, name) => resolve(code === 0 ? undefined : (name ?? `exit code ${code}`)));
  });
  const parser = new ProbeParser(probe);
  for await (const piece of child.stdout) parser.take(piece as Buffer);
  const crash = await ended;
  if (crash === undefined && parser.complete) return probe;
  return { ...probe, state: "crashed", crash: crash ?? "its answer ended early" };
}

/**
 * The child's answer: rows of key size 1, value size 1, flags 1 (1: a look-up finds the same value), key, value;
 * a row of three zero bytes ends it.
 */
class ProbeParser {
  complete = false;
  readonly #probe: IndexProbe;
  #rest: Buffer = Buffer.alloc(0);

  constructor(probe: IndexProbe) {
    this.#probe = probe;
  }

  take(piece: Buffer): void {
    const bytes = Buffer.concat([this.#rest, piece]);
    let at = 0;
    while (bytes.byteLength - at >= 3) {
      const [keyBytes, valueBytes, flags] = [bytes[at]!, bytes[at + 1]!, bytes[at + 2]!];
      const end = at + 3 + keyBytes + valueBytes;
      if (end > bytes.byteLength) break;
      if (keyBytes === 0) this.complete = true;
      else
        this.#row(
          bytes.subarray(at + 3, at + 3 + keyBytes),
          bytes.subarray(at + 3 + keyBytes, end),
          flags === 1,
        );
      at = end;
    }
    this.#rest = Buffer.from(bytes.subarray(at));
  }

  #row(key: Buffer, value: Buffer, lookedUp: boolean): void {
    if (!lookedUp) this.#probe.damagedKeys += 1;
    if (key.byteLength === DIGEST_BYTES) {
      const entry = decodeEntry(key, value);
      if (entry === undefined) this.#probe.damagedKeys += 1;
      else this.#probe.entries.set(digestKey(key), entry);
    } else if (key.byteLength === 9) {
      const end = decodePackEnd(key, value);
      if (end === undefined) this.#probe.damagedKeys += 1;
      else this.#probe.packEnds.set(end.packId, end);
    } else if (!LmdbIndex.isFormatKey(key, value)) {
      this.#probe.damagedKeys += 1;
    }
  }
}
