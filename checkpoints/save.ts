import { isStoreError, StoreError } from "../src/errors.ts";
import type { Engine } from "../src/store.ts";
import { throwIfAborted } from "./aborted.ts";
import { Bases } from "./bases.ts";
import type { Manifest, ManifestFile } from "./manifest-format.ts";
import { readManifest } from "./manifest-reader.ts";
import { writeManifest } from "./manifest-writer.ts";
import type { OptimizerSettings } from "./optimizer/settings.ts";
import type { ParentRule, Registry, VersionRecord } from "./registry.ts";
import { resolveSelector } from "./selector.ts";
import type { SourceFile } from "./source.ts";
import { changed, storeChunks } from "./store-chunks.ts";
import { storeTouched } from "./store-touched.ts";
import type { Touched } from "./touched-rows.ts";

export interface Progress {
  doneBytes: number;
  totalBytes: number;
}

export interface SaveOptions {
  /** The training step; a whole number. */
  step?: number;
  /** Loss, accuracy and the like; finite numbers. */
  metrics?: Record<string, number>;
  metadata?: Record<string, string>;
  /**
   * The version this one was made from: its number, or `REF@SELECTOR` to begin a branch of another ref's version
   * under a new ref. It must still be the newest when the save ends, else `ERR_CONFLICT`. Default: whatever is the
   * newest then.
   */
  parent?: number | string;
  /** What the loop needs to go on exactly where it was: RNG state, data-loader position. At most 64 MiB. */
  resume?: Uint8Array;
  /** `compact` (default) spends more time on fewer bytes than `fast`. */
  profile?: "fast" | "compact";
  /**
   * Hyperparameters of the optimizer, for versions that hold its state too: default, those that a safetensors file's
   * `__metadata__` states. Wrong ones cost bytes, never exactness.
   */
  optimizer?: OptimizerSettings;
  /** Cancels until the version is durable; nothing is left behind. */
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
  /**
   * When captured saves that are not durable yet hold all the staging memory and spool allowed: `wait` (default)
   * captures this one when there is room, so that `captured` resolves later; `skip` leaves the whole save out, and the
   * ticket says so.
   */
  onPressure?: "wait" | "skip";
  /**
   * Hash the tensors on the calling thread, which stalls it, and hold what is captured to that: a trainer that writes
   * a tensor before it was captured is found out (`ERR_CONFLICT`). For tests. Default: the store's `strict`.
   */
  strict?: boolean;
  /**
   * Rows changed since this store's last save of the same ref and tensors; no other byte has. The save then takes time
   * and room in proportion to them. It is believed: one chunk a save is compared, and in strict mode all of them
   * (`ERR_CONFLICT` names the tensor). Only for shared tensors; a first save, and one after a failed one, stores
   * everything whatever this says.
   */
  touched?: readonly Touched[];
}

export interface SaveResult {
  ref: string;
  version: number;
  /** BLAKE3-256 of the manifest's root, hexadecimal: equal for versions with equal content. */
  manifest: string;
  files: number;
  tensors: number;
  /** Bytes of the files saved. */
  logicalBytes: number;
  /** Every byte this version appended to packs and log. */
  storedBytes: number;
  /** What the rebuildable index grew by. */
  indexBytes: number;
  newChunks: number;
  durationMs: number;
}

export interface SaveRequest extends SaveOptions {
  ref: string;
  files: SourceFile[];
  /** Told once nothing will read the files' memory any more. */
  onCaptured?: () => void;
  /** Told what was stored, once that is durable. */
  onStored?: (files: ManifestFile[], version: number) => void;
}

/** Bytes that a save may have to store of a file: of touched rows these, which small as they are stay in the page cache. */
function sizeToStore({ origin, sizeBytes }: SourceFile): number {
  return "touched" in origin ? origin.touched.sizeBytes : sizeBytes;
}

/**
 * Saves a version: chunks and manifest become durable, then the index knows them, then the ref moves. Resolves when
 * all of that would survive a power cut; a crash or an error anywhere before leaves the previous version current.
 */
export async function saveVersion(
  engine: Engine,
  registry: Registry,
  request: SaveRequest,
): Promise<SaveResult> {
  const startMs = performance.now();
  engine.versions.refresh();
  const rule = parentRule(registry, request);
  const rawBytes = request.files.reduce((sum, file) => sum + file.sizeBytes, 0);
  const bytesToStore = request.files.reduce((sum, file) => sum + sizeToStore(file), 0);
  const save = await engine.chunks.beginSave(request.profile ?? "compact", bytesToStore);
  try {
    engine.versions.refresh();
    const onlyPatches = request.files.every(({ origin }) => "touched" in origin);
    const ancestors = onlyPatches ? [] : readAncestors(engine, registry, request.ref, rule);
    const stored = await storeFiles(engine, save, request, new Bases(ancestors));
    request.onCaptured?.();
    const manifest = await writeManifest(save, stored, ancestors[0]);
    throwIfAborted(request.signal);
    const { indexBytes } = await save.commit();
    throwIfAborted(request.signal);
    const files = request.files;
    const record = await registry.add(
      {
        ref: request.ref,
        manifest,
        step: request.step,
        metrics: request.metrics ?? {},
        metadata: request.metadata ?? {},
        logicalBytes: rawBytes,
        packBytes: save.storedBytes,
        newChunks: save.newChunks,
        files: files.length,
        tensors: files.reduce((sum, file) => sum + (file.layout?.spans.length ?? 0), 0),
        hasResume: request.resume !== undefined,
      },
      rule,
    );
    request.onStored?.(stored, record.version);
    return { ...resultOf(record), indexBytes, durationMs: Math.round(performance.now() - startMs) };
  } finally {
    await save.end();
  }
}

function parentRule(registry: Registry, { ref, parent }: SaveRequest): ParentRule {
  if (parent === undefined) return { newest: true };
  if (typeof parent !== "number" && typeof parent !== "string") {
    throw new StoreError("ERR_INVALID_ARGUMENT", "parent is neither a version number nor REF@SELECTOR");
  }
  const record =
    typeof parent === "number" ? registry.require(ref, parent) : resolveSelector(registry, parent);
  return { ref: record.ref, version: record.version };
}

/**
 * The manifests of the version this one is made from and of that one's parent: what its chunks are tried against.
 * One that cannot be read costs bytes, not the save.
 */
function readAncestors(engine: Engine, registry: Registry, ref: string, rule: ParentRule): Manifest[] {
  let record: VersionRecord | undefined;
  if ("newest" in rule) record = registry.newest(ref);
  else if ("ref" in rule) record = registry.require(rule.ref, rule.version);
  const manifests: Manifest[] = [];
  const known = {};
  while (record !== undefined && manifests.length < ANCESTORS) {
    try {
      manifests.push(readManifest(engine.chunks, record.manifest, known));
    } catch (error) {
      if (!isStoreError(error, "ERR_STORE_CORRUPT")) throw error;
      break;
    }
    record = record.parent === undefined ? undefined : registry.get(record.parent.ref, record.parent.version);
  }
  return manifests;
}

/** Parent and grandparent: the codec predicts from one and judges the change by the other. */
const ANCESTORS = 2;

async function storeFiles(
  engine: Engine,
  save: Parameters<typeof storeChunks>[1]["save"],
  request: SaveRequest,
  bases: Bases,
): Promise<ManifestFile[]> {
  const { files, resume, signal, onProgress } = request;
  const totalBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  let doneBytes = 0;
  const onBytes = (bytes: number) => {
    doneBytes += bytes;
    onProgress?.({ doneBytes: Math.min(doneBytes, totalBytes), totalBytes });
  };
  const replays = request.profile !== "fast";
  const options = { save, bases, jobsMax: engine.pool.size * 3, replays, signal, onBytes };
  const stored: ManifestFile[] = [];
  for (const given of files) {
    const file = withOptimizer(given, request);
    const { kind, name, sizeBytes, layout, origin } = file;
    if ("capture" in origin) await origin.capture.captured;
    const chunks =
      "touched" in origin ? await storeTouched(file, origin, save) : await storeChunks(file, options);
    requireUnchanged(engine, file);
    stored.push({ kind, name, sizeBytes, ...(layout === undefined ? {} : { layout }), chunks });
  }
  if (resume !== undefined) {
    const blob = { kind: "resume", name: "", sizeBytes: resume.byteLength } as const;
    stored.push({ ...blob, chunks: await storeChunks({ ...blob, origin: { bytes: resume } }, options) });
  }
  return stored;
}

/** What the file's own metadata says of the optimizer, and what the caller says, who knows better. */
function withOptimizer(file: SourceFile, { optimizer, step }: SaveRequest): SourceFile {
  if (!file.layout?.familiesTogether) return file;
  const atStep = step === undefined ? {} : { step };
  return { ...file, optimizer: { ...atStep, ...file.optimizer, ...optimizer } };
}

function requireUnchanged(engine: Engine, { origin, sizeBytes }: SourceFile): void {
  if (!("path" in origin)) return;
  const now = engine.disk.stat(origin.path);
  if (now?.sizeBytes !== sizeBytes || now.modifiedMs !== origin.modifiedMs) throw changed(origin.path);
}

function resultOf(record: VersionRecord): Omit<SaveResult, "indexBytes" | "durationMs"> {
  const { ref, version, manifest, files, tensors, logicalBytes, storedBytes, newChunks } = record;
  const digest = Buffer.from(manifest).toString("hex");
  return { ref, version, manifest: digest, files, tensors, logicalBytes, storedBytes, newChunks };
}
