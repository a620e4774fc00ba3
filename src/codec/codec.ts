import { invariant } from "../assert.ts";
import { StoreError } from "../errors.ts";
import { loadKernels } from "../kernels/kernels.ts";
import { CHUNK_BYTES_MAX } from "../limits.ts";
import { corrupt } from "./corrupt.ts";
import type { Candidate, DecodeInput, EncodeInput, Workshop } from "./encoding.ts";
import { lazyDelta, lazyLz4, lazyZstd } from "./libraries.ts";
import { PayloadRooms } from "./payload.ts";
import { stepsFor } from "./selection.ts";
import { ENCODINGS, raw, replay } from "./table.ts";

export type { DecodeInput, EncodeInput, Profile } from "./encoding.ts";

export interface Encoded extends Candidate {
  /** Id of the encoding, a u8. */
  encoding: number;
  /** The bases used are those of the replay's plan. */
  replayed: boolean;
}

/** Turns raw chunks into payloads and back. Not reentrant; one per thread. */
export interface Codec {
  /** To be awaited before bytes are encoded against bases; without it they are stored without deltas. */
  loadDeltas(): Promise<void>;
  /**
   * The smallest payload among the encodings that fit the chunk; never longer than the raw bytes.
   *
   * The payload is valid until the next call, and may be the chunk's own bytes: copy it.
   * @throws StoreError ERR_LIMIT for a chunk over CHUNK_BYTES_MAX.
   */
  encode(input: EncodeInput): Encoded;
  /**
   * Fills `target`, whose length is the chunk's raw length. The payload is not trusted: whatever it holds, the call
   * ends with `target` filled or an error, in bounded time and memory. The chunk's hash is the caller's to check.
   * @throws StoreError ERR_STORE_CORRUPT for a payload that no encoder writes.
   */
  decode(input: DecodeInput, target: Uint8Array): void;
}

/** The encoding whose payload is the chunk itself. */
export const RAW_ENCODING = raw.id;

/** Loads the kernels, once per thread: about 11 MB of WebAssembly memory, and 16 MB reserved for deltas. */
export function loadCodec(): Promise<Codec> {
  loading ??= load();
  return loading;
}
let loading: Promise<Codec> | undefined;

async function load(): Promise<Codec> {
  const kernels = await loadKernels();
  const delta = lazyDelta();
  const payloads = new PayloadRooms();
  const workshop: Workshop = { kernels, lz4: lazyLz4(), zstd: lazyZstd(), delta, payloads };
  return {
    loadDeltas: () => delta.load(),
    encode: (input) => encode(workshop, input),
    decode: (input, target) => decode(workshop, input, target),
  };
}

function encode(workshop: Workshop, input: EncodeInput): Encoded {
  requireChunkSize("chunk", input.bytes);
  for (const base of input.bases) requireChunkSize("base", base);
  for (const base of input.replay?.bases ?? []) requireChunkSize("base", base);
  let best: Encoded | undefined;
  for (const { encodings, enough } of stepsFor(workshop, input)) {
    for (const encoding of encodings) {
      const candidate = encoding.encode(workshop, input);
      if (
        candidate !== undefined &&
        candidate.payload.length < (best?.payload.length ?? input.bytes.length)
      ) {
        best = { encoding: encoding.id, replayed: encoding === replay, ...candidate };
        workshop.payloads.keep(candidate.payload);
      }
    }
    if (best !== undefined && best.payload.length <= input.bytes.length * enough) break;
  }
  return best ?? { encoding: raw.id, replayed: false, payload: input.bytes, basesUsed: 0 };
}

function decode(workshop: Workshop, input: DecodeInput, target: Uint8Array): void {
  invariant(target.length <= CHUNK_BYTES_MAX, "a decode target is no longer than a chunk");
  const encoding = ENCODINGS.get(input.encoding);
  if (encoding === undefined) {
    throw new StoreError("ERR_STORE_CORRUPT", `unknown encoding ${input.encoding}`, {
      context: { encoding: input.encoding },
      hint: "The frame is damaged or was written by a newer release.",
    });
  }
  if (input.payload.length > CHUNK_BYTES_MAX) {
    throw corrupt(encoding.name, `of ${input.payload.length} bytes is over ${CHUNK_BYTES_MAX}`);
  }
  encoding.decode(workshop, input, target);
}

/** The encoding's name for people; an id this release does not know is named by its number. */
export function encodingName(id: number): string {
  return ENCODINGS.get(id)?.name ?? `unknown-${id}`;
}

function requireChunkSize(what: string, bytes: Uint8Array): void {
  if (bytes.length <= CHUNK_BYTES_MAX) return;
  throw new StoreError("ERR_LIMIT", `${what} of ${bytes.length} bytes is over ${CHUNK_BYTES_MAX}`, {
    context: { sizeBytes: bytes.length, limitBytes: CHUNK_BYTES_MAX },
    hint: "Cut it into smaller chunks.",
  });
}
