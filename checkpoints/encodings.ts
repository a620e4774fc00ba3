import type { ChunkReader } from "../src/chunks/chunk-reader.ts";
import { encodingName } from "../src/codec/codec.ts";
import { planChunks } from "./chunk-plan.ts";
import type { ManifestFile } from "./manifest-format.ts";

/** What one encoding holds of a tensor or a version. */
export interface EncodingUse {
  encoding: string;
  /** Bytes as saved. */
  rawBytes: number;
  /** Bytes of their frames, headers included, wherever they lie: an earlier version may have stored them. */
  storedBytes: number;
}

export interface VersionEncodings {
  /** Everything the version's files are made of, largest first. Frames of several chunks count by their parts. */
  total: (EncodingUse & { chunks: number })[];
  files: {
    name: string;
    storedBytes: number;
    /** Bytes that belong to no tensor: headers, padding, opaque files. */
    skeleton: EncodingUse[];
    /** A chunk that several tensors share counts for each by its share of the bytes. */
    tensors: { name: string; dtype: string; storedBytes: number; encodings: EncodingUse[] }[];
  }[];
}

/** How a version's bytes are stored, by tensor and encoding: read from the headers of its frames. */
export function versionEncodings(reader: ChunkReader, files: ManifestFile[]): VersionEncodings {
  const total = new Uses();
  const counts = new Map<string, number>();
  const described = files.map((file) => {
    const skeleton = new Uses();
    const tensors = (file.layout?.spans ?? []).map((span) => ({ span, uses: new Uses() }));
    let firstSpan = 0;
    for (const { offset, rawBytes, digest } of placedChunks(file)) {
      const { header, entry } = reader.describe(digest);
      const frameRaw = header.chunks.reduce((sum, chunk) => sum + chunk.rawBytes, 0);
      const storedBytes = (entry.frameBytes * rawBytes) / Math.max(frameRaw, 1);
      const encoding = encodingName(header.encoding);
      counts.set(encoding, (counts.get(encoding) ?? 0) + 1);
      total.add(encoding, rawBytes, storedBytes);
      let inTensors = 0;
      while (firstSpan < tensors.length && endOf(tensors[firstSpan]!.span) <= offset) firstSpan++;
      for (let i = firstSpan; i < tensors.length && tensors[i]!.span.offset < offset + rawBytes; i++) {
        const { span, uses } = tensors[i]!;
        const shared = Math.min(endOf(span), offset + rawBytes) - Math.max(span.offset, offset);
        if (shared <= 0) continue;
        uses.add(encoding, shared, (storedBytes * shared) / rawBytes);
        inTensors += shared;
      }
      const left = rawBytes - inTensors;
      if (left > 0) skeleton.add(encoding, left, (storedBytes * left) / rawBytes);
    }
    return {
      name: file.name,
      skeleton: skeleton.list(),
      tensors: tensors.map(({ span: { name, dtype }, uses }) => {
        const encodings = uses.list();
        return { name, dtype, storedBytes: sumOf(encodings), encodings };
      }),
    };
  });
  return {
    total: total.list().map((use) => ({ ...use, chunks: counts.get(use.encoding)! })),
    files: described.map((file) => ({
      ...file,
      storedBytes: sumOf(file.skeleton) + file.tensors.reduce((sum, tensor) => sum + tensor.storedBytes, 0),
    })),
  };
}

const endOf = ({ offset, sizeBytes }: { offset: number; sizeBytes: number }) => offset + sizeBytes;
const sumOf = (uses: EncodingUse[]) => uses.reduce((sum, { storedBytes }) => sum + storedBytes, 0);

function* placedChunks(
  file: ManifestFile,
): Iterable<{ offset: number; rawBytes: number; digest: Uint8Array }> {
  const planned = file.layout === undefined ? undefined : planChunks(file.layout, file.sizeBytes);
  let offset = 0;
  for (const [i, { digest, rawBytes }] of file.chunks.entries()) {
    yield { offset: planned?.[i]?.offset ?? offset, rawBytes, digest };
    offset += rawBytes;
  }
}

class Uses {
  readonly #byEncoding = new Map<string, { rawBytes: number; storedBytes: number }>();

  add(encoding: string, rawBytes: number, storedBytes: number): void {
    const use = this.#byEncoding.get(encoding) ?? { rawBytes: 0, storedBytes: 0 };
    use.rawBytes += rawBytes;
    use.storedBytes += storedBytes;
    this.#byEncoding.set(encoding, use);
  }

  list(): EncodingUse[] {
    return [...this.#byEncoding]
      .map(([encoding, { rawBytes, storedBytes }]) => ({
        encoding,
        rawBytes,
        storedBytes: Math.round(storedBytes),
      }))
      .sort((a, b) => b.storedBytes - a.storedBytes);
  }
}
