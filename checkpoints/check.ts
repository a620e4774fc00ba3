import { digestKey, digestOfKey, digestText } from "../src/chunks/digest.ts";
import type { IndexProbe } from "../src/chunks/index-probe.ts";
import { packFileName, SEAL_BYTES } from "../src/chunks/pack-format.ts";
import type { PackScan } from "../src/chunks/pack-scan.ts";
import type { Disk } from "../src/disk/disk.ts";
import { isStoreError } from "../src/errors.ts";
import { featureChunks } from "../src/features/feature-chunks.ts";
import { checkImages, type ImageProblem } from "../src/images/check-images.ts";
import { PACK_BYTES_TARGET } from "../src/limits.ts";
import { checkSeries } from "../src/series/check-series.ts";
import { inspectStates, needsMending } from "../src/state/inspect-state.ts";
import type { LogInspection } from "../src/versions/version-store.ts";
import { throwIfAborted } from "./aborted.ts";
import { type Inspection, inspectStore } from "./inspect.ts";
import { manifestChunks } from "./manifest-chunks.ts";
import type { Progress } from "./save.ts";

export interface CheckOptions {
  /** Read and decode every byte, not just structure. */
  readData?: boolean;
  /** The critical log's mirror, compared with the log. */
  mirror?: string;
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

export interface Problem {
  what: string;
  /** File, and offset where there is one. */
  where: string;
  /** Versions that cannot be restored whole because of it, as `ref@12`. */
  versions: string[];
  hint: string;
}

export interface CheckResult {
  /** Nothing is wrong, or only what `repair` has already put on record. */
  ok: boolean;
  problems: Problem[];
  /** Harmless remains: what interrupted saves left, which gc removes. */
  notes: string[];
  /** Versions that cannot be restored whole, whether `repair` has put that on record or not. */
  damagedVersions: string[];
  versions: number;
  packs: number;
  chunks: number;
  checkedBytes: number;
}

/** Checks a store's files from the ground up, trusting none of them. Saves may go on meanwhile. */
export async function checkStore(
  disk: Disk,
  directory: string,
  options: CheckOptions = {},
): Promise<CheckResult> {
  const { readData = false, signal, onProgress } = options;
  const inspection = await inspectStore(disk, directory, { readData, signal, onProgress });
  try {
    const notes: string[] = [];
    const problems = [
      ...storeFileProblems(inspection),
      ...logProblems(inspection, notes),
      ...stateProblems(disk, inspection),
      ...noFileProblems(inspection),
      ...packProblems(inspection, notes),
    ];
    const versions = await versionFaults(inspection, { readData, signal });
    problems.push(...versions.problems, ...indexProblems(inspection, versions.live));
    const critical = await criticalProblems(disk, inspection, options.mirror);
    problems.push(...critical.problems);
    notes.push(...critical.notes);
    const { storeId } = inspection;
    const images = await checkImages(disk, { directory: `${directory}/images`, storeId, readData, signal });
    problems.push(...images.problems.map(imageProblem));
    const series = await checkSeries(disk, { directory: `${directory}/series`, storeId, readData, signal });
    problems.push(
      ...series.problems.map(({ path, what, hint }) => ({ what, where: path, versions: [], hint })),
    );
    return {
      ok: problems.length === 0,
      problems,
      notes,
      damagedVersions: versions.damaged,
      versions: inspection.registry.all().length + inspection.features.all().length,
      packs: inspection.packs.length,
      chunks: inspection.found.size,
      checkedBytes:
        inspection.scannedBytes + critical.checkedBytes + series.checkedBytes + images.checkedBytes,
    };
  } finally {
    inspection.close();
  }
}

/** Anything that needs chunks: a version of a checkpoint or of a feature table. */
interface Owner {
  /** As reports name it: `ref@12`, `features:name@3`. */
  name: string;
  /** `repair` has put on record that it has lost chunks. */
  damaged: boolean;
  chunks(): Iterable<Uint8Array>;
}

function* ownersIn({ registry, features, reader }: Inspection): Iterable<Owner> {
  for (const { ref, version, damaged, manifest } of registry.all()) {
    yield { name: `${ref}@${version}`, damaged, chunks: () => manifestChunks(reader, manifest) };
  }
  for (const record of features.all()) {
    const chunks = () => featureChunks(reader, record.manifest);
    yield { name: featureOwnerName(record), damaged: record.damaged, chunks };
  }
}

export function featureOwnerName({ name, version }: { name: string; version: number }): string {
  return `features:${name}@${version}`;
}

/** Critical state is always read whole: it is small. A store without any does not load what it would need. */
async function criticalProblems(
  disk: Disk,
  { directory, storeId }: Inspection,
  mirror: string | undefined,
): Promise<{ problems: Problem[]; notes: string[]; checkedBytes: number }> {
  const place = `${directory}/critical`;
  if (disk.list(place).length === 0) return { problems: [], notes: [], checkedBytes: 0 };
  const { checkCritical } = await import("../src/critical/check.ts");
  const { problems, notes, checkedBytes } = await checkCritical({ disk, directory: place, storeId, mirror });
  const shown = problems.map(({ what, where, hint }) => ({ what, where, hint, versions: [] }));
  return { problems: shown, notes, checkedBytes };
}

function imageProblem({ path, what, offset }: ImageProblem): Problem {
  const hint =
    "Nothing is lost: the chunks hold all of it. `varve repair` sets the image aside; `varve pin` writes it again.";
  return { what, where: `${path}, offset ${offset}`, versions: [], hint };
}

function storeFileProblems({ storeFileDamage, directory }: Inspection): Problem[] {
  if (storeFileDamage === undefined) return [];
  const hint = "`varve repair` writes it again from the store's other files.";
  return [{ what: storeFileDamage, where: `${directory}/varve.json`, versions: [], hint }];
}

function logProblems({ log }: Inspection, notes: string[]): Problem[] {
  const problems: Problem[] = [];
  const hint = "`varve repair` keeps every record that is left; versions whose records are lost are gone.";
  if (log.headerDamage !== undefined) {
    problems.push({
      what: `the version log: ${log.headerDamage}`,
      where: `${log.logPath}, offset 0`,
      versions: [],
      hint,
    });
  }
  for (const { offset, sizeBytes } of log.damage) {
    const what = `the version log has ${sizeBytes} damaged bytes: a record of versions, tags or prunes`;
    problems.push({ what, where: `${log.logPath}, offset ${offset}`, versions: [], hint });
  }
  for (const { offset } of log.padding) {
    const what = `the version log: ${PADDING}`;
    problems.push({
      what,
      where: `${log.logPath}, offset ${offset}`,
      versions: [],
      hint: "`varve repair` writes the log again; nothing is lost.",
    });
  }
  if (log.mark === "damaged") {
    const what = "the mark that says how far the log was durable is damaged";
    problems.push({ what, where: log.markPath, versions: [], hint: "`varve repair` writes it again." });
  }
  if (log.tornBytes > 0) notes.push(`${log.logPath}: ${log.tornBytes} bytes of an interrupted append`);
  return problems;
}

const PADDING = "bytes that its writer left zero are not";

function stateProblems(disk: Disk, { directory, storeId }: Inspection): Problem[] {
  return inspectStates(disk, directory, storeId)
    .filter(({ inspection }) => needsMending(inspection))
    .map(({ name, inspection }) => {
      const { where, what } = firstDamage(inspection);
      return {
        what: `the log of the state map ${decodeURIComponent(name)}: ${what}`,
        where,
        versions: [],
        hint: "`varve repair` keeps every update that is left.",
      };
    });
}

function firstDamage(inspection: LogInspection): { where: string; what: string } {
  const { logPath, markPath, headerDamage, damage, padding } = inspection;
  const at = (offset: number) => `${logPath}, offset ${offset}`;
  if (headerDamage !== undefined) return { where: at(0), what: headerDamage };
  if (damage.length > 0) return { where: at(damage[0]!.offset), what: `${damage.length} damaged stretches` };
  if (padding.length > 0) return { where: at(padding[0]!.offset), what: PADDING };
  return { where: markPath, what: "its mark is damaged" };
}

/** What else stands where a pack or a lock should; of `varve.json` and of logs others tell. */
function noFileProblems({ noFiles }: Inspection): Problem[] {
  const hint = "`varve repair` moves it aside; what was in the file is lost unless it is put back.";
  return noFiles
    .filter((path) => !/\/(varve\.json|log|mark)$/.test(path))
    .map((where) => ({
      what: "what stands here is no file, or a link to nowhere",
      where,
      versions: [],
      hint,
    }));
}

function packProblems({ packs, index }: Inspection, notes: string[]): Problem[] {
  const problems: Problem[] = [];
  for (const pack of packs) {
    for (const range of pack.damage) {
      if (isUnfinished(pack, range, index)) {
        notes.push(`${pack.path}: ${range.sizeBytes} bytes of an interrupted save at offset ${range.offset}`);
        continue;
      }
      problems.push({
        what: `${range.sizeBytes} bytes damaged (${range.what})`,
        where: `${pack.path}, offset ${range.offset}`,
        versions: [],
        hint: "`varve repair` moves the damaged pack aside and keeps every good frame.",
      });
    }
  }
  return problems;
}

/**
 * Damage past everything the index knows: a save that was cut off, unless a seal stood there. Without an index to ask,
 * what is at the very end is taken for that.
 */
export function isUnfinished(pack: PackScan, range: PackScan["damage"][number], index: IndexProbe): boolean {
  const wasSealed = range.sizeBytes === SEAL_BYTES && range.offset >= PACK_BYTES_TARGET;
  if (pack.sealed || wasSealed) return false;
  if (index.state !== "read") return range.offset + range.sizeBytes === pack.sizeBytes;
  return range.offset >= (index.packEnds.get(pack.packId)?.goodBytes ?? 0);
}

interface VersionFaults {
  problems: Problem[];
  /** Every chunk that some version needs, bases included, as far as manifests could be read. */
  live: Set<string>;
  damaged: string[];
}

/** Finds what each version needs, and which of it is missing or does not decode to what it should. */
async function versionFaults(
  inspection: Inspection,
  { readData, signal }: { readData: boolean; signal: AbortSignal | undefined },
): Promise<VersionFaults> {
  const live = new Set<string>();
  const faults = new Map<string, string>();
  const affected = new Map<string, { what: string; versions: string[]; onRecord: boolean }>();
  for (const { name, damaged, chunks } of ownersIn(inspection)) {
    throwIfAborted(signal);
    await new Promise(setImmediate);
    const blame = (key: string, what: string) => {
      const entry = affected.get(key) ?? { what, versions: [], onRecord: true };
      if (!entry.versions.includes(name)) entry.versions.push(name);
      entry.onRecord &&= damaged;
      affected.set(key, entry);
    };
    try {
      for (const digest of chunks()) {
        const key = digestKey(digest);
        if (!live.has(key)) {
          live.add(key);
          const fault = faultOf(inspection, digest, readData);
          if (fault !== undefined) faults.set(key, fault);
        }
        const fault = faults.get(key);
        if (fault !== undefined) blame(fault, fault);
      }
    } catch (error) {
      if (!isStoreError(error, "ERR_STORE_CORRUPT")) throw error;
      blame(error.message, `its manifest cannot be read: ${error.message}`);
    }
  }
  addBases(inspection, live);
  // What repair has put on record is known, and no new problem.
  const problems = [...affected.values()].flatMap(({ what, versions, onRecord }): Problem[] =>
    onRecord
      ? []
      : [
          {
            what,
            where: "packs",
            versions,
            hint: "Other versions restore. `varve repair` puts on record which ones are damaged; saving the same content again heals them.",
          },
        ],
  );
  const damaged = [...new Set([...affected.values()].flatMap(({ versions }) => versions))];
  return { problems, live, damaged };
}

/** Adds what the live chunks are stored against, and what that is stored against. */
function addBases({ packs, found }: Inspection, live: Set<string>): void {
  const basesAt = new Map<string, Uint8Array[]>();
  for (const { packId, frames } of packs) {
    for (const { offset, header } of frames) {
      if (header.bases.length > 0) basesAt.set(`${packId} ${offset}`, header.bases);
    }
  }
  const pending = [...live];
  for (let key = pending.pop(); key !== undefined; key = pending.pop()) {
    const entry = found.get(digestOfKey(key));
    if (entry === undefined) continue;
    for (const short of basesAt.get(`${entry.packId} ${entry.offset}`) ?? []) {
      const base = found.find(short);
      if (base === undefined || live.has(digestKey(base.digest))) continue;
      live.add(digestKey(base.digest));
      pending.push(digestKey(base.digest));
    }
  }
}

function faultOf({ found, reader }: Inspection, digest: Uint8Array, readData: boolean): string | undefined {
  if (found.get(digest) === undefined) return `chunk ${digestText(digest)} is in no pack`;
  if (!readData) return undefined;
  try {
    reader.read(digest);
    return undefined;
  } catch (error) {
    if (isStoreError(error, "ERR_STORE_CORRUPT")) return error.message;
    throw error;
  }
}

function indexProblems({ index, found, packs, directory }: Inspection, live: Set<string>): Problem[] {
  const where = `${directory}/chunks/index`;
  const hint = "`varve repair` rebuilds the index from the packs; nothing is lost.";
  const problem = (what: string): Problem => ({ what, where, versions: [], hint });
  if (index.state === "absent") return found.size === 0 ? [] : [problem("the chunk index is missing")];
  if (index.state === "crashed") {
    return [problem(`the chunk index is damaged: the process that read it ended (${index.crash})`)];
  }
  const problems: Problem[] = [];
  if (index.damagedKeys > 0)
    problems.push(problem(`the chunk index has ${index.damagedKeys} damaged entries`));
  let missing = 0;
  for (const { digest } of found.entries()) {
    const key = digestKey(digest);
    if (live.has(key) && !index.entries.has(key)) missing += 1;
  }
  if (missing > 0) problems.push(problem(`the chunk index lacks ${missing} chunks that versions need`));
  const frames = new Set<string>();
  // A chunk may lie in several frames; the index may name any of them.
  for (const { packId, frames: scanned } of packs) {
    for (const { offset, header } of scanned) {
      header.chunks.forEach(({ digest }, ordinal) => {
        frames.add(placeOf(digestKey(digest), { packId, offset, ordinal }));
      });
    }
  }
  let stray = 0;
  for (const [key, entry] of index.entries) if (!frames.has(placeOf(key, entry)) && live.has(key)) stray += 1;
  if (stray > 0) problems.push(problem(`the chunk index places ${stray} chunks where they are not`));
  return problems;
}

function placeOf(
  key: string,
  { packId, offset, ordinal }: { packId: bigint; offset: number; ordinal: number },
): string {
  return `${key}${packFileName(packId)}${offset} ${ordinal}`;
}
