import { invariant } from "../src/assert.ts";
import type { ChunkSave } from "../src/chunks/chunk-save.ts";
import { sameDigest } from "../src/chunks/digest.ts";
import { StoreError } from "../src/errors.ts";
import { JOB_BYTES } from "../src/limits.ts";
import type { ChunkRef } from "./manifest-format.ts";
import type { SourceFile, TouchedOrigin } from "./source.ts";
import { writtenTooEarly } from "./store-chunks.ts";
import type { TouchedAnswer } from "./touched.job.ts";

/** Stores the touched chunks and says which chunks the whole file has now, in file order. */
export async function storeTouched(
  file: SourceFile,
  origin: TouchedOrigin,
  save: ChunkSave,
): Promise<ChunkRef[]> {
  const refs = [...origin.base];
  if (origin.expected !== undefined) requireExpected(file, origin, origin.expected);
  const patches = origin.answers.filter((answer) => !answer.whole);
  const compared = origin.expected === undefined ? oneOf(patches) : patches;
  for (const answer of compared) requireRows(file, origin, save, answer);
  for (const answer of patches) {
    const { element, rawBytes } = origin.planned[answer.chunk]!;
    const base = origin.base[answer.chunk]!.digest;
    const done = await save.appendPatch({ ...answer, rawBytes, element, base });
    if (!done) throw baseGone(file.name);
    refs[answer.chunk] = { digest: answer.digest, rawBytes };
  }
  await storeWhole(origin, save, refs);
  return refs;
}

/** Chunks that start over, encoded like those of any save. */
async function storeWhole(origin: TouchedOrigin, save: ChunkSave, refs: ChunkRef[]): Promise<void> {
  const buffer = new SharedArrayBuffer(JOB_BYTES);
  for (const { chunk, digest, payload, whole } of origin.answers) {
    if (!whole) continue;
    const { element, rawBytes } = origin.planned[chunk]!;
    const bytes = new Uint8Array(buffer, 0, rawBytes);
    bytes.set(payload);
    const run = await save.encode({ bytes }, [{ rawBytes, element, bases: [] }]);
    invariant(sameDigest(run.digest(0), digest), "a chunk is hashed alike on every thread");
    await save.append(run);
    refs[chunk] = { digest, rawBytes };
  }
}

function oneOf<T>(all: T[]): T[] {
  const chosen = all[Math.floor(Math.random() * all.length)];
  return chosen === undefined ? [] : [chosen];
}

/** The base with the named rows replaced must be what was captured, or a row was left out. */
function requireRows(
  file: SourceFile,
  { base }: TouchedOrigin,
  save: ChunkSave,
  { chunk, digest, payload }: TouchedAnswer,
): void {
  if (sameDigest(save.patchedDigest(base[chunk]!.digest, payload), digest)) return;
  throw rowsLeftOut(tensorsOf(file, base, chunk));
}

/** Strict mode: what was captured is what was there at the call, and nothing else had changed. */
function requireExpected(file: SourceFile, origin: TouchedOrigin, expected: Uint8Array[]): void {
  const captured = new Map(origin.answers.map((answer) => [answer.chunk, answer.digest]));
  expected.forEach((digest, chunk) => {
    const touched = captured.get(chunk);
    if (sameDigest(touched ?? origin.base[chunk]!.digest, digest)) return;
    const tensors = tensorsOf(file, origin.base, chunk);
    throw touched === undefined ? rowsLeftOut(tensors) : writtenTooEarly(tensors);
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
