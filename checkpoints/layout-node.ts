import type { TensorSpan } from "../formats/layout.ts";
import { DTYPES, dtypeRank, tensorSizeBytes } from "../formats/tensor.ts";
import { TENSOR_RANK_MAX } from "../src/limits.ts";
import { ByteReader } from "./byte-reader.ts";
import { ByteWriter } from "./byte-writer.ts";
import { FAMILY_LAYOUT_MAGIC, LAYOUT_MAGIC, type StoredLayout } from "./manifest-format.ts";

/** The bytes of a layout node: where a file's tensors lie, relative to each other. */
export function encodeLayout(layout: StoredLayout): Uint8Array {
  const writer = new ByteWriter()
    .raw(Buffer.from(layout.familiesTogether ? FAMILY_LAYOUT_MAGIC : LAYOUT_MAGIC))
    .varint(layout.spans.length);
  let end = 0;
  for (const { name, dtype, shape, offset, sizeBytes } of layout.spans) {
    writer
      .varint(offset - end)
      .text(name)
      .byte(dtypeRank(dtype))
      .varint(shape.length);
    for (const axis of shape) writer.varint(axis);
    end = offset + sizeBytes;
  }
  return writer.finish();
}

/** @throws `ERR_STORE_CORRUPT` for bytes `encodeLayout` cannot have written. */
export function decodeLayout(bytes: Uint8Array, format: string): StoredLayout {
  const reader = new ByteReader(bytes, "layout node");
  const familiesTogether = reader.magic(LAYOUT_MAGIC, FAMILY_LAYOUT_MAGIC) === FAMILY_LAYOUT_MAGIC;
  const spanCount = reader.count(4);
  const spans: TensorSpan[] = [];
  let offset = 0;
  for (let i = 0; i < spanCount; i++) {
    offset += reader.varint();
    const name = reader.text();
    const dtype = DTYPES[reader.byte()] ?? reader.fail("an unknown dtype");
    const rank = reader.count(1);
    if (rank > TENSOR_RANK_MAX) reader.fail(`a tensor with ${rank} axes`);
    const shape = Array.from({ length: rank }, () => reader.varint());
    const sizeBytes = tensorSizeBytes(dtype, shape, name);
    spans.push({ name, dtype, shape, offset, sizeBytes });
    offset += sizeBytes;
  }
  reader.end();
  return familiesTogether ? { format, spans, familiesTogether } : { format, spans };
}
