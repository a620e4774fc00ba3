import { type PlannedChunk, planChunks } from "./chunk-plan.ts";
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

  /** Digests of the best base from each ancestor, nearest first. */
  forTensors(fileName: string, chunk: PlannedChunk): Uint8Array[] {
    const bases: Uint8Array[] = [];
    for (const ancestor of this.#ancestors) {
      const base = ancestor.find(fileName, chunk);
      if (base === undefined) break;
      bases.push(base.digest);
    }
    return bases;
  }

  /** Where the parent's version of an opaque file has its chunks. */
  opaque(fileName: string): OpaqueBases | undefined {
    return this.#ancestors[0]?.opaque(fileName);
  }
}

class FileBases {
  readonly #manifest: Manifest;
  readonly #inFile = new Map<string, { byKey: Map<string, ChunkRef>; byPlace: Map<string, ChunkRef> }>();
  readonly #byKey = new Map<string, ChunkRef>();

  constructor(manifest: Manifest) {
    this.#manifest = manifest;
    for (const file of manifest.files) {
      if (file.layout === undefined) continue;
      const byKey = new Map<string, ChunkRef>();
      const byPlace = new Map<string, ChunkRef>();
      planChunks(file.layout, file.sizeBytes).forEach((chunk, i) => {
        const ref = file.chunks[i]!;
        byKey.set(chunk.key, ref);
        byPlace.set(placeKey(chunk), ref);
        // Skeletons are told apart by their file alone.
        if (chunk.element !== "bytes" && !this.#byKey.has(chunk.key)) this.#byKey.set(chunk.key, ref);
      });
      this.#inFile.set(file.name, { byKey, byPlace });
    }
  }

  find(fileName: string, chunk: PlannedChunk): ChunkRef | undefined {
    const file = this.#inFile.get(fileName) ?? this.#onlyFile();
    return file?.byKey.get(chunk.key) ?? this.#byKey.get(chunk.key) ?? file?.byPlace.get(placeKey(chunk));
  }

  /** A run that names its one file after the step still has one file to compare with. */
  #onlyFile() {
    return this.#inFile.size === 1 ? this.#inFile.values().next().value : undefined;
  }

  opaque(fileName: string): OpaqueBases | undefined {
    const opaque = this.#manifest.files.filter((file) => file.kind === "opaque");
    const file =
      opaque.find((each) => each.name === fileName) ?? (opaque.length === 1 ? opaque[0] : undefined);
    return file === undefined ? undefined : new OpaqueBases(file);
  }
}

function placeKey({ offset, rawBytes, element }: PlannedChunk): string {
  return `${element} ${offset} ${rawBytes}`;
}

/** Chunks of the parent's file to try as one chunk's bases: those it overlaps, at most this many. */
const OVERLAPS_MAX = 4;

/**
 * The parent's chunks of an opaque file by their place. Bytes that were inserted or removed shift everything after
 * them: each chunk found again tells by how much.
 */
export class OpaqueBases {
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
