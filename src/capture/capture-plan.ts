/** Bytes to capture that lie in one piece in memory. */
export interface CaptureSpan {
  /** Where they lie in the file that the save makes of them. */
  offset: number;
  bytes: Uint8Array;
  /** Which part (tensor) they are; -1 for bytes that nobody writes, such as a file's header. */
  part: number;
}

/** A run of the file's bytes that is captured, and later encoded, as one. */
export interface CapturePiece {
  offset: number;
  sizeBytes: number;
  /** Some of it lies in memory that other threads cannot see: this thread captures it. */
  local: boolean;
  /** Parts that lie in it. */
  parts: number[];
  segments: { bytes: Uint8Array; buffer: number }[];
}

/** Numbers a piece, and a segment, take in the table. */
export const PIECE_FIELDS = 5;
export const SEGMENT_FIELDS = 4;

/**
 * What to copy from where, worked out once for tensors that are saved again and again and shared with the threads
 * that copy.
 *
 *     table = piece{n} segment{m}, all float64
 *     piece = offset in the file, bytes, first segment, segments, 1 if local
 *     segment = buffer, byte offset in it, bytes, part
 */
export class CapturePlan {
  readonly pieces: CapturePiece[] = [];
  readonly buffers: SharedArrayBuffer[] = [];
  readonly table: Float64Array;
  /** By part: how many pieces it lies in. */
  readonly piecesOfPart: Int32Array;
  readonly sizeBytes: number;
  /** Pieces that other threads cannot capture. */
  readonly locals: readonly number[];
  readonly #pieceAt = new Map<number, number>();

  /** @param spans by offset, without gaps; `ranges` cover them, by offset as well. */
  constructor(spans: CaptureSpan[], ranges: { offset: number; sizeBytes: number }[], parts: number) {
    this.piecesOfPart = new Int32Array(parts);
    const segments: number[] = [];
    const rows: number[] = [];
    let at = 0;
    for (const range of ranges) {
      const piece: CapturePiece = { ...range, local: false, parts: [], segments: [] };
      const first = segments.length / SEGMENT_FIELDS;
      const end = range.offset + range.sizeBytes;
      while (at < spans.length && spans[at]!.offset + spans[at]!.bytes.byteLength <= range.offset) at++;
      for (let i = at; i < spans.length && spans[i]!.offset < end; i++) {
        segments.push(...this.#segment(spans[i]!, range.offset, end, piece));
      }
      rows.push(range.offset, range.sizeBytes, first, piece.segments.length, piece.local ? 1 : 0);
      for (const part of piece.parts) this.piecesOfPart[part]! += 1;
      this.#pieceAt.set(range.offset, this.pieces.length);
      this.pieces.push(piece);
    }
    this.locals = this.pieces.flatMap((piece, index) => (piece.local ? [index] : []));
    this.sizeBytes = ranges.reduce((sum, range) => sum + range.sizeBytes, 0);
    this.table = new Float64Array(new SharedArrayBuffer((rows.length + segments.length) * 8));
    this.table.set(rows);
    this.table.set(segments, rows.length);
  }

  #segment(span: CaptureSpan, from: number, to: number, piece: CapturePiece): number[] {
    const start = Math.max(span.offset, from) - span.offset;
    const bytes = span.bytes.subarray(start, Math.min(span.offset + span.bytes.byteLength, to) - span.offset);
    const buffer = this.#buffer(bytes.buffer);
    if (buffer < 0) piece.local = true;
    if (span.part >= 0) piece.parts.push(span.part);
    piece.segments.push({ bytes, buffer });
    return [buffer, bytes.byteOffset, bytes.byteLength, span.part];
  }

  #buffer(buffer: ArrayBufferLike): number {
    if (!(buffer instanceof SharedArrayBuffer)) return -1;
    const known = this.buffers.lastIndexOf(buffer);
    return known >= 0 ? known : this.buffers.push(buffer) - 1;
  }

  /** The piece that begins at `offset` of the file. */
  pieceAt(offset: number): number | undefined {
    return this.#pieceAt.get(offset);
  }

  /** Copies a piece's bytes from where they lie now into `target`. */
  copyPiece(index: number, target: Uint8Array): void {
    let at = 0;
    for (const { bytes } of this.pieces[index]!.segments) {
      target.set(bytes, at);
      at += bytes.byteLength;
    }
  }
}
