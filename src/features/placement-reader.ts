import { storedFrameBytes } from "../chunks/pack-reader.ts";
import { ByteSource } from "../series/columns/byte-source.ts";
import type { Piece } from "./format.ts";
import type { FramePlace, PlacedRun, Placement } from "./placement-format.ts";

/** What the bytes say; nothing at all when they are not what a writer writes: they are never needed. */
export function decodePlacement(bytes: Uint8Array): Placement {
  try {
    return readPlacement(new ByteSource("placement", bytes));
  } catch {
    return { manifest: undefined, runs: [] };
  }
}

function readPlacement(source: ByteSource): Placement {
  const packCount = source.varint(Math.floor(source.left / 8));
  const packs = Array.from({ length: packCount }, () => Buffer.from(source.bytes(8)).readBigUInt64LE());
  const pack = () => {
    const at = source.varint(packCount);
    return at === 0 ? undefined : packs[at - 1];
  };
  const number = () => source.varint(Number.MAX_SAFE_INTEGER);
  const manifestPack = pack();
  const manifest =
    manifestPack === undefined ? undefined : { packId: manifestPack, offset: number(), frameBytes: number() };
  const runs: PlacedRun[] = [];
  while (source.left > 0) {
    const [skipped, count] = [number(), number()];
    const packId = pack();
    if (packId === undefined) throw source.corrupt("a run in no pack");
    const offset = number();
    runs.push({ skipped, count, packId, offset, frameBytes: count === 0 ? number() : 0 });
  }
  return { manifest, runs };
}

/** The place of each piece that has one. Runs that go on past the last piece say nothing more. */
export function* placesOf(
  { runs }: Placement,
  pieces: Iterable<Piece>,
): Iterable<{ digest: Uint8Array; entry: FramePlace & { rawBytes: number } }> {
  const left = pieces[Symbol.iterator]();
  for (const { skipped, count, packId, offset, frameBytes } of runs) {
    for (let i = 0; i < skipped; i++) if (left.next().done) return;
    let at = offset;
    for (let i = 0; i < Math.max(1, count); i++) {
      const piece = left.next();
      if (piece.done) return;
      const { digest, rawBytes } = piece.value;
      const ownBytes = count === 0 ? frameBytes : storedFrameBytes(rawBytes);
      yield { digest, entry: { packId, offset: at, frameBytes: ownBytes, rawBytes } };
      at += ownBytes;
    }
  }
}
