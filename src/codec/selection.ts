import { CHUNK_ELEMENTS } from "../limits.ts";
import { laneWidth } from "./element.ts";
import type { EncodeInput, Encoding, Workshop } from "./encoding.ts";
import {
  delta,
  lz4,
  packedDifference,
  planes,
  planesZstd,
  replay,
  residual,
  xorPlanesZstd,
  zstd,
} from "./table.ts";

/** One step of the selection: encodings to try, and whether to go on to the next step, given the best share so far. */
export interface Step {
  encodings: readonly Encoding[];
  /** The next step is taken only while the best payload is over this share of the raw bytes. */
  enough: number;
}

/**
 * The encodings worth trying on a chunk, likeliest first; raw is always the fallback and not named. A step is skipped
 * where experience says it cannot gain: see docs/formats/encodings.md for what that loses against trying everything.
 */
export function stepsFor(workshop: Workshop, input: EncodeInput): Step[] {
  const { bytes, element, bases, profile } = input;
  if (bytes.length === 0) return [];
  const hasBase = bases.length > 0;
  if (element === "bytes") return [{ encodings: opaque(input), enough: 0 }];
  // Looked at only if it comes to that.
  const repeats: Step = {
    get encodings() {
      return repeatsItself(workshop, bytes) ? repeating(profile, hasBase) : [];
    },
    enough: 0,
  };
  if (profile === "fast") {
    if (!hasBase) return [{ encodings: [planes], enough: 0.25 }, repeats];
    // The differences decline what hardly changed; whatever they accept is good enough for a fast profile.
    return [{ encodings: [packedDifference], enough: 1 }, { encodings: [residual], enough: 0.25 }, repeats];
  }
  const countable = bytes.length / laneWidth(element) <= CHUNK_ELEMENTS;
  const against = countable ? residual : packedDifference;
  // A parent that hardly helps may be another tensor's: then the chunk alone may be less. Alone, floats of two bytes
  // seldom get below two thirds, those of four below four fifths.
  const enough = laneWidth(element) <= 2 ? 0.6 : 0.78;
  const alone = { encodings: [planes], enough: ALL_BUT_NOTHING };
  // A replay that foresees what it should is far below anything else.
  const foreseen = { encodings: input.replay === undefined ? [] : [replay], enough: REPLAYED };
  return hasBase ? [foreseen, { encodings: [against], enough }, alone, repeats] : [alone, repeats];
}

/** Bytes without elements: what moved, a delta finds; what changed where it lies, residuals tell in less. */
function opaque({ bytes, bases, profile }: EncodeInput): Encoding[] {
  if (bases.length === 0) return [profile === "compact" ? zstd : lz4];
  return [zstd, delta, bytes.length <= CHUNK_ELEMENTS ? residual : packedDifference];
}

function repeating(profile: "fast" | "compact", hasBase: boolean): Encoding[] {
  if (profile === "fast") return [lz4];
  return hasBase ? [planesZstd, xorPlanesZstd, zstd] : [planesZstd, zstd];
}

/** Residuals against the parent, the next best, take more than this of moments and weights of float32. */
const REPLAYED = 0.45;

/** A chunk that comes down to this share is one value or nearly so: nothing is left to gain. */
const ALL_BUT_NOTHING = 0.005;

/** Bytes in the middle of the chunk that are tried. */
const PROBE_BYTES = 4096;

/** Whether a probe of the chunk has repetitions that LZ4 finds; trained weights never do. */
function repeatsItself({ lz4: library }: Workshop, bytes: Uint8Array): boolean {
  const from = Math.max(0, (bytes.length - PROBE_BYTES) >> 1);
  const probe = bytes.subarray(from, from + PROBE_BYTES);
  return library.encode(probe).length < probe.length * 0.9;
}
