import { type PlannedChunk, planChunks, sameLayout } from "./chunk-plan.ts";
import type { ChunkRef, Manifest, ManifestFile } from "./manifest-format.ts";

/**
 * Finds, for a chunk about to be saved, the chunks of earlier versions it probably resembles: what held the same part
 * of the same tensor, else what lay at the same place of the same file.
 */
export class Bases {
  readonly #ancestors: FileBases[];

  /** @param manifests the parent's, then its parent's; a version without history has none */
  constructor(manifests: Manifest[]) {
    this.#ancestors = manifests.map((manifest) => new FileBases(manifest));
  }

  /** For a file of tensors: digests of a chunk's best base from each ancestor, nearest first. */
  forTensors(file: Pick<ManifestFile, "name" | "layout" | "sizeBytes">): BasesOf {
    const finders = this.#ancestors.map((ancestor) => ancestor.finder(file));
    return (chunk, place) => {
      const bases: Uint8Array[] = [];
      for (const find of finders) {
        const base = find(chunk, place);
        if (base === undefined) break;
        bases.push(base.digest);
      }
      return bases;
    };
  }

  /** The parent's version of a file of tensors. */
  parentOf(fileName: string): ManifestFile | undefined {
    return this.#ancestors[0]?.fileOf(fileName);
  }

  /** Where the parent's version of an opaque file has its chunks. */
  opaque(fileName: string): OpaqueBases | undefined {
    return this.#ancestors[0]?.opaque(fileName);
  }
}

/** @param place of the chunk in its file */
export type BasesOf = (chunk: PlannedChunk, place: number) => Uint8Array[];

/** One ancestor's chunks; each way to find one is prepared when it is first needed, since most saves need only one. */
class FileBases {
  readonly #manifest: Manifest;
  /** Files of tensors, by name. */
  readonly #files: Map<string, ManifestFile>;
  readonly #byKey = new Map<ManifestFile, Map<string, ChunkRef>>();
  readonly #byPlace = new Map<ManifestFile, Map<string, ChunkRef>>();

  constructor(manifest: Manifest) {
    this.#manifest = manifest;
    const files = manifest.files.filter((file) => file.layout !== undefined);
    this.#files = new Map(files.map((file) => [file.name, file]));
  }

  /** How to find the chunks of a file. One that is laid out as it was has each chunk where it was. */
  finder(
    now: Pick<ManifestFile, "name" | "layout" | "sizeBytes">,
  ): (chunk: PlannedChunk, place: number) => ChunkRef | undefined {
    const file = this.fileOf(now.name);
    if (file === undefined) return (chunk) => this.#inOthers(file, chunk);
    if (file.sizeBytes === now.sizeBytes && sameLayout(file.layout!, now.layout!))
      return (_, place) => file.chunks[place];
    return (chunk) =>
      this.#keys(file).get(chunk.key) ??
      this.#inOthers(file, chunk) ??
      this.#places(file).get(placeKey(chunk));
  }

  fileOf(fileName: string): ManifestFile | undefined {
    return this.#files.get(fileName) ?? this.#onlyFile();
  }

  /** A run that names its one file after the step still has one file to compare with. */
  #onlyFile(): ManifestFile | undefined {
    return this.#files.size === 1 ? this.#files.values().next().value : undefined;
  }

  /** Skeletons are told apart by their file alone; tensors keep their names wherever they lie. */
  #inOthers(file: ManifestFile | undefined, chunk: PlannedChunk): ChunkRef | undefined {
    if (chunk.element === "bytes") return undefined;
    for (const other of this.#files.values()) {
      const found = other === file ? undefined : this.#keys(other).get(chunk.key);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #keys(file: ManifestFile): Map<string, ChunkRef> {
    return indexed(this.#byKey, file, (chunk) => chunk.key);
  }

  #places(file: ManifestFile): Map<string, ChunkRef> {
    return indexed(this.#byPlace, file, placeKey);
  }

  opaque(fileName: string): OpaqueBases | undefined {
    const opaque = this.#manifest.files.filter((file) => file.kind === "opaque");
    const file =
      opaque.find((each) => each.name === fileName) ?? (opaque.length === 1 ? opaque[0] : undefined);
    return file === undefined ? undefined : new OpaqueBases(file);
  }
}

function indexed(
  indexes: Map<ManifestFile, Map<string, ChunkRef>>,
  file: ManifestFile,
  keyOf: (chunk: PlannedChunk) => string,
): Map<string, ChunkRef> {
  let index = indexes.get(file);
  if (index === undefined) {
    const planned = planChunks(file.layout!, file.sizeBytes);
    index = new Map(planned.map((chunk, i) => [keyOf(chunk), file.chunks[i]!]));
    indexes.set(file, index);
  }
  return index;
}

function placeKey({ place, rawBytes, element }: PlannedChunk): string {
  return `${element} ${place} ${rawBytes}`;
}

/** Chunks of the parent's file to try as one chunk's bases: those it overlaps, at most this many. */
const OVERLAPS_MAX = 4;

/**
 * The parent's chunks of an opaque file by their place. Bytes that were inserted or removed shift everything after
 * them: each chunk found again tells by how much.
 */
class OpaqueBases {
  readonly #chunks: { offset: number; end: number; digest: Uint8Array }[] = [];
  readonly #byDigest = new Map<string, number>();
  #shift = 0;

  constructor(file: ManifestFile) {
    let offset = 0;
    for (const { digest, rawBytes } of file.chunks) {
      this.#chunks.push({ offset, end: offset + rawBytes, digest });
      this.#byDigest.set(Buffer.from(digest).toString("latin1"), offset);
      offset += rawBytes;
    }
  }

  /** Digests of the parent's chunks that lie where this one came from, by what is known of the shift. */
  at(offset: number, rawBytes: number): Uint8Array[] {
    const start = offset + this.#shift;
    const found: Uint8Array[] = [];
    for (let i = this.#firstEndingAfter(start); i < this.#chunks.length && found.length < OVERLAPS_MAX; i++) {
      const chunk = this.#chunks[i]!;
      if (chunk.offset >= start + rawBytes) break;
      found.push(chunk.digest);
    }
    return found;
  }

  /** Learns from a stored chunk whether the parent has it, and where. */
  learn(offset: number, digest: Uint8Array): void {
    const place = this.#byDigest.get(Buffer.from(digest).toString("latin1"));
    if (place !== undefined) this.#shift = place - offset;
  }

  #firstEndingAfter(offset: number): number {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#chunks[middle]!.end <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
