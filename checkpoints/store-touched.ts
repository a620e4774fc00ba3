import { invariant } from "../src/assert.ts";
import type { ChunkSave, PatchToAppend } from "../src/chunks/chunk-save.ts";
import { sameDigest } from "../src/chunks/digest.ts";
import type { EncodeRun } from "../src/chunks/encode-run.ts";
import { StoreError } from "../src/errors.ts";
import { CHUNK_BYTES_MAX } from "../src/limits.ts";
import { ChunkLister } from "./listed-chunk.ts";
import type { ChunkRef } from "./manifest-format.ts";
import type { SourceFile, TouchedOrigin } from "./source.ts";
import { writtenTooEarly } from "./store-chunks.ts";

/** Stores the touched chunks and says which chunks the whole file has now, in file order. */
export async function storeTouched(
  file: SourceFile,
  origin: TouchedOrigin,
  save: ChunkSave,
): Promise<ChunkRef[]> {
  const { touched, base } = origin;
  requireBase(file, origin, save);
  if (origin.expected !== undefined) requireExpected(file, origin, origin.expected);
  const patches: number[] = [];
  for (let i = 0; i < touched.count; i++) if (!touched.isWhole(i)) patches.push(i);
  const compared = origin.expected === undefined ? oneOf(patches) : patches;
  for (const i of compared) requireRows(file, origin, save, i);
  if (!(await save.appendPatches(patchesOf(origin, patches)))) throw baseGone(file.name);
  await storeWhole(origin, save);
  const refs = [...base];
  const lister = new ChunkLister();
  for (let i = 0; i < touched.count; i++) {
    const chunk = touched.chunk(i);
    refs[chunk] = lister.list(touched.digest(i), base[chunk]!.rawBytes);
  }
  return refs;
}

function* patchesOf({ touched, base }: TouchedOrigin, places: readonly number[]): Iterable<PatchToAppend> {
  for (const i of places) yield { frame: touched.frame(i), base: base[touched.chunk(i)]!.digest };
}

/** Chunks that start over, encoded like those of any save: several at once, since each save has a few. */
async function storeWhole({ touched, planned }: TouchedOrigin, save: ChunkSave): Promise<void> {
  const encoding: { run: Promise<EncodeRun>; place: number }[] = [];
  const buffers: SharedArrayBuffer[] = [];
  const append = async () => {
    const { run, place } = encoding[0]!;
    const encoded = await run;
    encoding.shift();
    invariant(
      sameDigest(encoded.digest(0), touched.digest(place)),
      "a chunk is hashed alike on every thread",
    );
    await save.append(encoded);
  };
  try {
    let begun = 0;
    for (let i = 0; i < touched.count; i++) {
      if (!touched.isWhole(i)) continue;
      if (encoding.length === WHOLE_AT_ONCE) await append();
      const { element, rawBytes } = planned[touched.chunk(i)]!;
      const slot = begun++ % WHOLE_AT_ONCE;
      buffers[slot] ??= new SharedArrayBuffer(CHUNK_BYTES_MAX);
      const bytes = new Uint8Array(buffers[slot], 0, rawBytes);
      bytes.set(touched.payload(i));
      const run = save.encode({ bytes }, [{ rawBytes, element, bases: [] }]);
      encoding.push({ run, place: i });
    }
    while (encoding.length > 0) await append();
  } finally {
    // A job must not outlive the memory it reads.
    await Promise.allSettled(encoding.map(({ run }) => run));
  }
}

/** Enough to keep the threads busy, few enough to bound the memory. */
const WHOLE_AT_ONCE = 6;

function oneOf<T>(all: T[]): T[] {
  const chosen = all[Math.floor(Math.random() * all.length)];
  return chosen === undefined ? [] : [chosen];
}

/** Rows that were not touched are in the base's chunks, which gc takes once nobody keeps a version that has them. */
function requireBase(file: SourceFile, { base, isBaseKept }: TouchedOrigin, save: ChunkSave): void {
  if (isBaseKept()) return;
  if (base.some(({ digest }) => save.depthOf(digest) === undefined)) throw baseGone(file.name);
}

/** The base with the named rows replaced must be what was captured, or a row was left out. */
function requireRows(
  file: SourceFile,
  { touched, base }: TouchedOrigin,
  save: ChunkSave,
  place: number,
): void {
  const chunk = touched.chunk(place);
  if (sameDigest(save.patchedDigest(base[chunk]!.digest, touched.payload(place)), touched.digest(place)))
    return;
  throw rowsLeftOut(tensorsOf(file, base, chunk));
}

/** Strict mode: what was captured is what was there at the call, and nothing else had changed. */
function requireExpected(
  file: SourceFile,
  { touched, base }: TouchedOrigin,
  expected: readonly Uint8Array[],
): void {
  const captured = new Map<number, Uint8Array>();
  for (let i = 0; i < touched.count; i++) captured.set(touched.chunk(i), touched.digest(i));
  expected.forEach((digest, chunk) => {
    const now = captured.get(chunk);
    if (sameDigest(now ?? base[chunk]!.digest, digest)) return;
    const tensors = tensorsOf(file, base, chunk);
    throw now === undefined ? rowsLeftOut(tensors) : writtenTooEarly(tensors);
  });
}

function tensorsOf(file: SourceFile, refs: ChunkRef[], chunk: number): string[] {
  const offset = refs.slice(0, chunk).reduce((sum, ref) => sum + ref.rawBytes, 0);
  const end = offset + refs[chunk]!.rawBytes;
  const spans = file.layout!.spans.filter(
    (span) => span.offset < end && span.offset + span.sizeBytes > offset,
  );
  return spans.map((span) => span.name);
}

function rowsLeftOut(tensors: string[]): StoreError {
  return new StoreError(
    "ERR_CONFLICT",
    `${tensors.slice(0, 3).join(", ")}: rows changed since the last save that touched does not name`,
    {
      context: { tensors },
      hint: "Nothing was stored under the ref, and its next save stores everything. Name every row that is written.",
    },
  );
}

function baseGone(file: string): StoreError {
  return new StoreError(
    "ERR_CONFLICT",
    `${file}: the version that the touched rows are relative to is gone`,
    {
      retryable: true,
      hint: "It was pruned meanwhile. Save again: the next save stores everything.",
    },
  );
}
