import { basename } from "node:path";
import { chunkPlace } from "../src/chunks/chunk-store.ts";
import { LmdbIndex } from "../src/chunks/lmdb-index.ts";
import { packFileName } from "../src/chunks/pack-format.ts";
import { recoverIndex } from "../src/chunks/rebuild-index.ts";
import { salvagePack } from "../src/chunks/salvage.ts";
import type { Disk } from "../src/disk/disk.ts";
import { isListed } from "../src/disk/listed.ts";
import { FeatureRegistry } from "../src/features/registry.ts";
import { checkImages } from "../src/images/check-images.ts";
import { checkSeries } from "../src/series/check-series.ts";
import { healSeriesFile } from "../src/series/repair-series.ts";
import { parseSegmentName } from "../src/series/segment-format.ts";
import { type Gap, recordGap } from "../src/series/series-file.ts";
import { inspectStates, needsMending } from "../src/state/inspect-state.ts";
import { healStoreFile, newStoreFile, readStoreFile, writeStoreFile } from "../src/store-file.ts";
import { lockStore } from "../src/store-lock.ts";
import { rewriteLog } from "../src/versions/rewrite-log.ts";
import { VersionStore } from "../src/versions/version-store.ts";
import { type CheckResult, checkStore, featureOwnerName, isUnfinished } from "./check.ts";
import { findNoFiles, type Inspection, inspectStore } from "./inspect.ts";
import { Registry } from "./registry.ts";
import type { Progress } from "./save.ts";

export interface RepairOptions {
  /** The critical log's mirror: blocks are taken from whichever copy has them whole. */
  mirror?: string;
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
  nowUs: () => bigint;
}

export interface RepairResult {
  /** What was done, a sentence each. */
  actions: string[];
  /** Files that were damaged, moved here for whoever wants to look into them. */
  quarantined: string[];
  /** Versions that have lost chunks, as `ref@12`. */
  damagedVersions: string[];
  /** The store, checked again byte by byte. */
  check: CheckResult;
}

/**
 * Mends what can be mended: writes `varve.json` again, keeps the version log's good records, moves damaged packs
 * aside and keeps their good frames, rebuilds the index, and puts on record which versions lost something. Nothing
 * damaged is deleted: it goes to `quarantine/`.
 * @throws `ERR_STORE_LOCKED` while another process has the store open
 */
export async function repairStore(
  disk: Disk,
  directory: string,
  options: RepairOptions,
): Promise<RepairResult> {
  const lock = lockStore(disk, directory, "exclusive");
  try {
    const repair = new Repair(disk, directory, options);
    let check = await repair.check();
    let storeId = readSoundStoreId(disk, directory, check);
    if (storeId === undefined) {
      storeId = await repair.files();
      check = await repair.check();
    }
    const critical = await repair.critical(storeId);
    const images = await repair.images(storeId);
    const mended = (await repair.series(storeId)) || images || critical;
    if ((await repair.record(storeId, check)) || mended) check = await repair.check();
    return {
      actions: repair.actions,
      quarantined: repair.quarantined,
      damagedVersions: check.damagedVersions,
      check,
    };
  } finally {
    lock?.close();
  }
}

/** The id of a store that has nothing to mend; `undefined` when it has. */
function readSoundStoreId(disk: Disk, directory: string, check: CheckResult): Uint8Array | undefined {
  return check.ok ? readStoreFile(disk, directory)?.storeId : undefined;
}

class Repair {
  readonly actions: string[] = [];
  readonly quarantined: string[] = [];
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #options: RepairOptions;

  constructor(disk: Disk, directory: string, options: RepairOptions) {
    this.#disk = disk;
    this.#directory = directory;
    this.#options = options;
  }

  /** Mends the files themselves and returns the store's id. */
  async files(): Promise<Uint8Array> {
    this.noFiles();
    const inspection = await inspectStore(this.#disk, this.#directory, { readData: true, ...this.#options });
    try {
      this.storeFile(inspection);
      this.versionLog(inspection);
      this.stateLogs(inspection);
      await this.packs(inspection);
    } finally {
      inspection.close();
    }
    await this.index(inspection);
    return inspection.storeId;
  }

  /** Sets aside what stands where a file of the store should: a directory, a pipe, a link to nowhere. */
  noFiles(): void {
    for (const path of findNoFiles(this.#disk, this.#directory)) {
      this.#quarantine(path);
      this.actions.push(`set ${path} aside, which is no file`);
    }
  }

  storeFile({ storeFileDamage, storeId, log }: Inspection): void {
    if (storeFileDamage === undefined) return;
    const healed = healStoreFile(this.#disk, this.#directory);
    this.#quarantine(`${this.#directory}/varve.json`);
    const createdUs = log.records[0]?.timeUs ?? this.#options.nowUs();
    writeStoreFile(this.#disk, this.#directory, healed ?? { ...newStoreFile(createdUs), storeId });
    this.actions.push(
      healed === undefined
        ? "wrote varve.json again from the id in the store's other files"
        : "mended varve.json by turning back a flipped bit",
    );
  }

  /** Turns back flipped bits in files of series; whole segments that are beyond that are set aside, their rows on record. */
  async series(storeId: Uint8Array): Promise<boolean> {
    const options = { directory: `${this.#directory}/series`, storeId, readData: true, ...this.#options };
    const { problems } = await checkSeries(this.#disk, options);
    for (const path of new Set(
      problems.filter(({ gap }) => gap === undefined).map((problem) => problem.path),
    )) {
      if (healSeriesFile(this.#disk, path)) this.actions.push(`mended ${path} by turning back a flipped bit`);
      else if (path.endsWith(".seg")) {
        const { name, directory, firstRow, rows } = placeOfSegment(path);
        this.#quarantine(path);
        this.#recordGap(directory, { firstRow, rows }, name);
      }
    }
    for (const { gap, path } of problems) {
      if (gap !== undefined) this.#recordGap(path, gap, "no file");
    }
    return problems.length > 0;
  }

  /** Sets damaged images aside: the chunks hold what they repeat. */
  async images(storeId: Uint8Array): Promise<boolean> {
    const { signal } = this.#options;
    const directory = `${this.#directory}/images`;
    const { problems } = await checkImages(this.#disk, { directory, storeId, readData: true, signal });
    for (const { path } of problems) {
      this.#quarantine(path);
      this.actions.push(`set the damaged image ${path} aside; the ref's next pin writes it again`);
    }
    return problems.length > 0;
  }

  #recordGap(directory: string, gap: Gap, what: string): void {
    if (!recordGap(this.#disk, directory, gap)) return;
    const rows = `${gap.firstRow} to ${gap.firstRow + gap.rows - 1}`;
    this.actions.push(`put on record that ${directory} has lost its rows ${rows} (${what})`);
  }

  versionLog({ log, storeId }: Inspection): void {
    if (!needsMending(log) && log.mark === "good") return;
    const directory = `${this.#directory}/versions`;
    if (log.headerDamage !== undefined || log.damage.length > 0)
      this.#quarantine(log.logPath, { keep: true });
    const { healed } = rewriteLog(this.#disk, { directory, storeId, inspection: log });
    const lost = log.damage.length - healed;
    this.actions.push(
      log.damage.length === 0
        ? "wrote the version log's header and mark again"
        : `wrote the version log again with its ${log.records.length + healed} good records` +
            (healed > 0 ? `, ${healed} of them mended by turning back a flipped bit` : "") +
            (lost > 0 ? `; ${lost} damaged stretches are lost` : ""),
    );
  }

  /** State maps' logs, each mended as the version log is. */
  stateLogs({ directory, storeId }: Inspection): void {
    for (const { directory: place, name, inspection } of inspectStates(this.#disk, directory, storeId)) {
      if (!needsMending(inspection)) continue;
      this.#quarantine(inspection.logPath, { keep: true });
      const { healed } = rewriteLog(this.#disk, { directory: place, storeId, inspection });
      const kept = inspection.records.length + healed;
      this.actions.push(
        `wrote the log of the state map ${decodeURIComponent(name)} again with its ${kept} good records`,
      );
    }
  }

  /** What an interrupted save left is no damage: adoption or gc takes it away. */
  async packs({ packs, storeId, index }: Inspection): Promise<void> {
    const place = chunkPlace(`${this.#directory}/chunks`);
    const damaged = packs.filter((pack) => pack.damage.some((range) => !isUnfinished(pack, range, index)));
    for (const scan of damaged) {
      const name = packFileName(scan.packId);
      const saved = await salvagePack(this.#disk, place.packsDirectory, storeId, scan, this.#options.nowUs());
      this.#quarantine(scan.path);
      const healed = saved.healed > 0 ? `, ${saved.healed} of them mended by turning back a flipped bit` : "";
      this.actions.push(`kept ${saved.frames} good frames of pack ${name}${healed}`);
    }
  }

  /** A new index beside nothing: the old one is not trusted with a single page. */
  async index({ storeId, index }: Inspection): Promise<void> {
    const place = chunkPlace(`${this.#directory}/chunks`);
    for (const name of this.#disk.list(place.indexDirectory))
      this.#disk.remove(`${place.indexDirectory}/${name}`);
    const rebuilt = recoverIndex(this.#disk, place.packsDirectory, storeId);
    const packEnds = [...rebuilt.packEnds()];
    const fresh = LmdbIndex.open(this.#disk, place.indexDirectory, { readOnly: false });
    try {
      await fresh.commit({ puts: [...rebuilt.entries()], packEnds });
      const why =
        index.state === "read" ? "" : ` (it was ${index.state === "absent" ? "missing" : "damaged"})`;
      this.actions.push(`rebuilt the index of ${rebuilt.size} chunks from ${packEnds.length} packs${why}`);
    } finally {
      await fresh.close();
    }
  }

  /** Mends critical state; returns whether there was anything to mend. */
  async critical(storeId: Uint8Array): Promise<boolean> {
    const directory = `${this.#directory}/critical`;
    if (this.#disk.list(directory).length === 0) return false;
    const { mendCritical } = await import("../src/critical/mend.ts");
    const { mirror } = this.#options;
    const quarantine = (path: string) => this.#quarantine(path, { keep: true });
    const done = await mendCritical({ disk: this.#disk, directory, storeId, mirror, quarantine });
    this.actions.push(...done);
    return done.length > 0;
  }

  check(): Promise<CheckResult> {
    const { signal, onProgress, mirror } = this.#options;
    return checkStore(this.#disk, this.#directory, {
      readData: true,
      ...(mirror === undefined ? {} : { mirror }),
      ...(signal === undefined ? {} : { signal }),
      ...(onProgress === undefined ? {} : { onProgress }),
    });
  }

  /**
   * Notes in the log which versions are damaged, and which, marked so before, are whole again. Returns whether there
   * was anything to note.
   */
  async record(storeId: Uint8Array, before: CheckResult): Promise<boolean> {
    const { nowUs } = this.#options;
    const hit = new Set(before.damagedVersions);
    const directory = `${this.#directory}/versions`;
    const versions = await VersionStore.open({
      disk: this.#disk,
      directory,
      storeId,
      readOnly: false,
      nowUs,
    });
    try {
      const registry = new Registry(versions);
      const named = registry.all().map((record) => ({ record, name: `${record.ref}@${record.version}` }));
      const damaged = named.filter(({ name, record }) => hit.has(name) && !record.damaged);
      const whole = named.filter(({ name, record }) => !hit.has(name) && record.damaged);
      const records = (list: typeof named) => list.map(({ record }) => record);
      await registry.markDamaged(records(damaged), true);
      await registry.markDamaged(records(whole), false);
      for (const { name } of damaged) this.actions.push(`put on record that ${name} is damaged`);
      for (const { name } of whole) this.actions.push(`${name} is whole again`);
      const changedFeatures = await this.#recordFeatures(versions, hit);
      return damaged.length + whole.length + changedFeatures > 0;
    } finally {
      versions.close();
    }
  }

  /** The same for feature tables; returns how many versions changed. */
  async #recordFeatures(versions: VersionStore, hit: ReadonlySet<string>): Promise<number> {
    const registry = new FeatureRegistry(versions);
    const changed = registry.all().filter((record) => record.damaged !== hit.has(featureOwnerName(record)));
    for (const record of changed) {
      const name = featureOwnerName(record);
      this.actions.push(record.damaged ? `${name} is whole again` : `put on record that ${name} is damaged`);
    }
    await registry.markDamaged(
      changed.filter((record) => !record.damaged),
      true,
    );
    await registry.markDamaged(
      changed.filter((record) => record.damaged),
      false,
    );
    return changed.length;
  }

  #quarantine(path: string, options: { keep?: boolean } = {}): void {
    if (!isListed(this.#disk, path)) return;
    const directory = `${this.#directory}/quarantine`;
    this.#disk.makeDirectory(directory);
    const target = `${directory}/${basename(path)}-${this.#options.nowUs()}`;
    if (options.keep) copyFile(this.#disk, path, target);
    else this.#disk.rename(path, target);
    this.#disk.syncDirectory(directory);
    this.quarantined.push(target);
  }
}

const COPY_BYTES = 1 << 20;

function copyFile(disk: Disk, from: string, to: string): void {
  const source = disk.open(from, { access: "read" });
  const target = disk.open(to, { access: "write", create: "must" });
  try {
    const window = Buffer.alloc(COPY_BYTES);
    for (let at = 0; ; at += COPY_BYTES) {
      const count = source.readSync(window, at);
      if (count === 0) break;
      target.writeSync(window.subarray(0, count), at);
    }
    target.syncSync();
  } finally {
    source.close();
    target.close();
  }
}

/** A segment's directory, name and rows. */
function placeOfSegment(path: string) {
  const at = path.lastIndexOf("/");
  const { name, firstRow, rows } = parseSegmentName(path.slice(at + 1))!;
  return { directory: path.slice(0, at), name, firstRow, rows };
}
