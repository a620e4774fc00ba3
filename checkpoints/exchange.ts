import { digestKey, digestText, sameDigest } from "../src/chunks/digest.ts";
import type { ChunkToEncode } from "../src/chunks/encode-run.ts";
import { StoreError } from "../src/errors.ts";
import { CHUNK_BYTES_MAX, JOB_BYTES, VERSION_FILES_MAX } from "../src/limits.ts";
import { checkName } from "../src/names.ts";
import type { Engine } from "../src/store.ts";
import { planChunks } from "./chunk-plan.ts";
import { manifestChunks } from "./manifest-chunks.ts";
import type { Manifest, ManifestFile } from "./manifest-format.ts";
import { readManifest } from "./manifest-reader.ts";
import { writeManifest } from "./manifest-writer.ts";
import type { ParentRule, Registry, VersionRecord } from "./registry.ts";
import { checkMetadata, checkMetrics, checkStep } from "./version-fields.ts";

/** A chunk offered to the store: its bytes lie behind those of the one before it. */
export interface OfferedChunk extends ChunkToEncode {
  /** What it must hash to, when the one who offers it knows. */
  digest?: Uint8Array;
}

/** What a version says beside its manifest. */
export interface VersionFields {
  manifest: Uint8Array;
  step?: number | undefined;
  metrics?: Record<string, number> | undefined;
  metadata?: Record<string, string> | undefined;
}

/**
 * A save and a restore in parts, for clients that are not in this process: ask what is missing, put those chunks, put
 * the manifest that lists them, move the ref. Nothing is visible before the last step, and each checks what it needs:
 * a ref never points at a chunk that is not there.
 *
 * Call `open` before the first of them. Chunks that no version names yet are what `gc` removes: a client whose last step fails with missing chunks puts
 * those again.
 */
export class ChunkExchange {
  readonly #engine: Engine;
  readonly #registry: Registry;
  readonly #tracked: <T>(step: () => Promise<T>) => Promise<T>;
  /** One put after the other: each appends to one pack and ends with one sync. */
  #putting: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** @param tracked runs a step so that closing the store waits for it */
  constructor(engine: Engine, registry: Registry, tracked: <T>(step: () => Promise<T>) => Promise<T>) {
    this.#engine = engine;
    this.#registry = registry;
    this.#tracked = tracked;
  }

  /** Opens what the rest of this counts on: a store may have been opened without its chunks. */
  async open(): Promise<void> {
    await this.#engine.openChunks();
  }

  /** Puts that have not ended, for statistics. */
  get queuedPuts(): number {
    return this.#waiting;
  }

  /** Raw bytes of a chunk; `undefined` when the store has none of that name. */
  sizeOf(digest: Uint8Array): number | undefined {
    return this.#engine.chunks.index.get(digest)?.rawBytes;
  }

  /** Catches up with what other processes have saved. */
  refresh(): void {
    this.#engine.chunks.index.refresh();
    this.#engine.versions.refresh();
  }

  /**
   * Stores chunks; all are durable when it resolves. Those the store has already cost nothing.
   * @param bytes shared memory that holds the chunks one behind the other; not written until it resolves
   * @returns the chunks' digests, in order
   * @throws `ERR_CONFLICT` when a chunk does not have its digest: then none of them is stored
   */
  put(bytes: Uint8Array, chunks: OfferedChunk[]): Promise<Uint8Array[]> {
    this.#waiting++;
    const step = this.#putting.then(() => this.#tracked(() => this.#putNow(bytes, chunks)));
    this.#putting = step.catch(() => {}).finally(() => this.#waiting--);
    return step;
  }

  async #putNow(bytes: Uint8Array, chunks: OfferedChunk[]): Promise<Uint8Array[]> {
    const save = await this.#engine.chunks.beginSave("compact");
    try {
      const digests: Uint8Array[] = [];
      const jobs = jobsOf(chunks).map(({ offset, run }) => {
        const sizeBytes = run.reduce((sum, chunk) => sum + chunk.rawBytes, 0);
        const source = { bytes: bytes.subarray(offset, offset + sizeBytes) };
        return { run, encoded: save.encode(source, run) };
      });
      // All are awaited whatever happens: a job must not outlive the memory it reads.
      await Promise.allSettled(jobs.map((job) => job.encoded));
      const encoded = await Promise.all(jobs.map((job) => job.encoded));
      for (const [j, { run }] of jobs.entries()) {
        run.forEach(({ digest: expected }, i) => {
          const digest = new Uint8Array(encoded[j]!.digest(i));
          if (expected !== undefined && !sameDigest(expected, digest))
            throw mismatch(expected, digests.length);
          digests.push(digest);
        });
      }
      for (const each of encoded) await save.append(each);
      await save.commit();
      return digests;
    } finally {
      await save.end();
    }
  }

  /**
   * Chunks' bytes, one behind the other, in shared memory that belongs to the caller; each was checked.
   * @throws `ERR_NOT_FOUND` naming a chunk the store does not have
   */
  async get(digests: Uint8Array[]): Promise<{ bytes: Uint8Array; sizes: number[] }> {
    const sizes = digests.map((digest) => this.sizeOf(digest) ?? notThere(digest));
    const bytes = new Uint8Array(new SharedArrayBuffer(sizes.reduce((sum, size) => sum + size, 0)));
    const chunks = digests.map((digest, i) => ({ digest, rawBytes: sizes[i]! }));
    const jobs = jobsOf(chunks).map(({ offset, run }) => {
      const sizeBytes = run.reduce((sum, chunk) => sum + chunk.rawBytes, 0);
      return this.#engine.chunks.decode(run, { bytes: bytes.subarray(offset, offset + sizeBytes) });
    });
    await Promise.allSettled(jobs);
    await Promise.all(jobs);
    return { bytes, sizes };
  }

  /** @throws `ERR_NOT_FOUND` when there is no such manifest, `ERR_STORE_CORRUPT` when it is damaged */
  manifest(digest: Uint8Array): Manifest {
    if (this.sizeOf(digest) === undefined) return notThere(digest);
    return readManifest(this.#engine.chunks, digest);
  }

  /**
   * Stores a manifest; durable when it resolves.
   * @param parent a manifest it probably resembles
   * @returns its digest, or the chunks that are missing: then nothing was stored
   * @throws `ERR_INVALID_ARGUMENT` when layout and chunks contradict each other
   */
  async putManifest(
    files: ManifestFile[],
    parent?: Uint8Array,
  ): Promise<{ manifest: Uint8Array } | { missing: Uint8Array[] }> {
    checkFiles(files);
    return this.#tracked(async () => {
      const save = await this.#engine.chunks.beginSave("compact");
      try {
        const missing = this.#missing(files.flatMap((file) => file.chunks.map((chunk) => chunk.digest)));
        if (missing.length > 0) return { missing };
        for (const file of files) this.#checkSizes(file);
        const known = parent !== undefined && this.sizeOf(parent) !== undefined;
        const base = known ? readManifest(this.#engine.chunks, parent) : undefined;
        const manifest = await writeManifest(save, files, base);
        await save.commit();
        return { manifest };
      } finally {
        await save.end();
      }
    });
  }

  #missing(digests: Iterable<Uint8Array>): Uint8Array[] {
    const missing = new Map<string, Uint8Array>();
    for (const digest of digests)
      if (this.sizeOf(digest) === undefined) missing.set(digestKey(digest), digest);
    return [...missing.values()];
  }

  #checkSizes({ name, chunks }: ManifestFile): void {
    for (const { digest, rawBytes } of chunks) {
      const there = this.sizeOf(digest);
      if (there !== rawBytes)
        throw invalid(name, `chunk ${digestText(digest)} has ${there} bytes, not ${rawBytes}`);
    }
  }

  /**
   * Makes a manifest the newest version of a ref: durable and visible when it resolves.
   * @throws `ERR_CONFLICT` when the ref does not stand where `rule` says
   */
  async moveRef(
    ref: string,
    fields: VersionFields,
    rule: ParentRule,
  ): Promise<VersionRecord | { missing: Uint8Array[] }> {
    checkName("ref", ref);
    checkStep(fields.step);
    checkMetrics(fields.metrics ?? {});
    checkMetadata(fields.metadata ?? {});
    return this.#tracked(async () => {
      // Shared with gc from the look at the chunks until the version names them.
      const lock = await this.#engine.chunks.lockGc("shared");
      try {
        this.refresh();
        if (this.sizeOf(fields.manifest) === undefined) return { missing: [fields.manifest] };
        const missing = this.#missing(manifestChunks(this.#engine.chunks, fields.manifest));
        if (missing.length > 0) return { missing };
        const { manifest } = fields;
        const { step, metrics = {}, metadata = {} } = fields;
        const counts = this.#counts(ref, manifest);
        return await this.#registry.add({ ref, manifest, step, metrics, metadata, ...counts }, rule);
      } finally {
        lock.close();
      }
    });
  }

  /** What the version has that the one before it has not: the frames it brought. */
  #counts(ref: string, manifest: Uint8Array) {
    const { files } = readManifest(this.#engine.chunks, manifest);
    const newest = this.#registry.newest(ref);
    const before = new Set<string>();
    if (newest !== undefined && !newest.damaged) {
      for (const digest of manifestChunks(this.#engine.chunks, newest.manifest))
        before.add(digestKey(digest));
    }
    let [newChunks, packBytes] = [0, 0];
    for (const digest of manifestChunks(this.#engine.chunks, manifest)) {
      const key = digestKey(digest);
      if (before.has(key)) continue;
      before.add(key);
      newChunks++;
      packBytes += this.#engine.chunks.index.get(digest)?.frameBytes ?? 0;
    }
    const named = files.filter((file) => file.kind !== "resume");
    return {
      newChunks,
      packBytes,
      files: named.length,
      logicalBytes: named.reduce((sum, file) => sum + file.sizeBytes, 0),
      tensors: named.reduce((sum, file) => sum + (file.layout?.spans.length ?? 0), 0),
      hasResume: files.length > named.length,
    };
  }
}

/** Runs of chunks, each a job's worth. */
function jobsOf<Chunk extends { rawBytes: number }>(chunks: Chunk[]): { offset: number; run: Chunk[] }[] {
  const jobs: { offset: number; run: Chunk[] }[] = [];
  let runBytes = 0;
  let offset = 0;
  for (const chunk of chunks) {
    const last = jobs.at(-1);
    if (last === undefined || runBytes + chunk.rawBytes > JOB_BYTES) {
      jobs.push({ offset, run: [chunk] });
      runBytes = chunk.rawBytes;
    } else {
      last.run.push(chunk);
      runBytes += chunk.rawBytes;
    }
    offset += chunk.rawBytes;
  }
  return jobs;
}

/** What a manifest's reader would refuse is not written. */
function checkFiles(files: ManifestFile[]): void {
  if (files.length > VERSION_FILES_MAX) throw invalid("", `a version of ${files.length} files`);
  const names = new Set<string>();
  for (const { kind, name, sizeBytes, layout, chunks } of files) {
    const key = `${kind === "resume"} ${name}`;
    if (names.has(key)) throw invalid(name, "two files of one name");
    names.add(key);
    if ((kind === "tensors") !== (layout !== undefined))
      throw invalid(name, "a layout belongs to files of tensors");
    if (chunks.some(({ rawBytes }) => rawBytes > CHUNK_BYTES_MAX)) throw invalid(name, "a chunk over 1 MiB");
    let end = 0;
    for (const span of layout?.spans ?? []) {
      if (span.offset < end)
        throw invalid(name, `tensor ${JSON.stringify(span.name.slice(0, 80))} overlaps another`);
      end = span.offset + span.sizeBytes;
    }
    if (end > sizeBytes) throw invalid(name, "tensors past its end");
    if (layout !== undefined) {
      const planned = planChunks(layout, sizeBytes);
      const fits =
        planned.length === chunks.length &&
        planned.every((chunk, i) => chunk.rawBytes === chunks[i]!.rawBytes);
      if (!fits)
        throw invalid(name, "chunks other than its layout gives (docs/formats/manifest.md says which)");
    }
    if (chunks.reduce((sum, chunk) => sum + chunk.rawBytes, 0) !== sizeBytes) {
      throw invalid(name, `chunks that do not add up to its ${sizeBytes} bytes`);
    }
  }
}

function invalid(file: string, problem: string): StoreError {
  return new StoreError("ERR_INVALID_ARGUMENT", `the manifest's file ${JSON.stringify(file)}: ${problem}`, {
    context: { file },
  });
}

function mismatch(expected: Uint8Array, place: number): StoreError {
  return new StoreError(
    "ERR_CONFLICT",
    `the bytes of chunk ${place} are not those of ${digestText(expected)}`,
    {
      context: { digest: Buffer.from(expected).toString("hex"), place, reason: "digest" },
      hint: "Nothing was stored. The bytes changed on their way, or while they were hashed.",
    },
  );
}

function notThere(digest: Uint8Array): never {
  throw new StoreError("ERR_NOT_FOUND", `there is no chunk ${digestText(digest)}`, {
    context: { digest: Buffer.from(digest).toString("hex") },
    hint: "Put it first, or ask for the manifest again: it may belong to a version that was pruned.",
  });
}
