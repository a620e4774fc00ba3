import { ONNX_EXTERNAL_BYTES_MIN, ONNX_TENSORS_MAX } from "../../src/limits.ts";
import { sourceOf } from "../byte-source.ts";
import { malformed } from "../malformed.ts";
import { type DType, measureShape } from "../tensor.ts";
import { uniqueName } from "../unique-name.ts";
import { ENTRY, EXTERNAL, TENSOR, TYPES } from "./format.ts";
import { type Stretch, scanModel, type TensorFields, type TensorSink } from "./scan.ts";
import { WIRE, WireReader } from "./wire.ts";

/** A tensor of a model, by what the model declares: one that others may take the place of. */
export interface SkeletonTensor {
  name: string;
  dtype: DType;
  shape: number[];
  sizeBytes: number;
  /** The file beside the model that holds it; `undefined` for one that lies in the model. */
  location: string | undefined;
  /** An initializer of the main graph: what exporters make of a module's parameters. */
  isInitializer: boolean;
}

/** Where one replaced tensor's bytes go. */
export interface TensorPlace {
  tensor: SkeletonTensor;
  /** In the model, from this byte on; or in a buffer of its own, under this location. */
  at: { offset: number } | { location: string };
}

/** A model whose replaced tensors are holes, to be filled for each version. */
export interface Shell {
  model: Uint8Array;
  places: TensorPlace[];
}

interface Found extends SkeletonTensor {
  /** Where its elements lie as they are. */
  offset: number | undefined;
  /** Its field in the main graph. */
  field: Stretch | undefined;
}

/**
 * An ONNX model that lends its graph to weights from elsewhere.
 *
 * Initializers of the main graph become references to external data, which the runtime takes from memory: so no large
 * model is put together for each version, and none is parsed. Small ones, whose values the runtime wants to see when
 * it infers shapes, and tensors in nodes' attributes, branches and functions are overwritten where they lie.
 */
export class OnnxSkeleton {
  readonly #bytes: Uint8Array;
  readonly #found: Found[] = [];
  readonly #graphs: { field: Stretch; content: Stretch }[] = [];

  /** @throws `ERR_FORMAT_ONNX` */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    const names = new Map<string, number>();
    const sink: TensorSink = {
      graph: ({ start, end }, content) =>
        this.#graphs.push({
          field: { start, end },
          content: { start: content.start, end: content.end },
        }),
      tensor: (name, fields, field) => this.#add(names, name, fields, field),
      floats: (name, { start, end }) => {
        const sizeBytes = end - start;
        const shape = [sizeBytes / 4];
        this.#push(names, { name, dtype: "F32", shape, sizeBytes, offset: start });
      },
    };
    scanModel(sourceOf(bytes), sink);
    if (this.#graphs.length > 1) throw fail("graph", "several graphs", this.#graphs[1]!.field.start);
  }

  get tensors(): readonly SkeletonTensor[] {
    return this.#found;
  }

  /** The files beside the model that hold tensors of it. */
  get locations(): string[] {
    return [...new Set(this.#found.flatMap(({ location }) => location ?? []))];
  }

  /**
   * The model with holes for these tensors of it.
   * @throws `ERR_FORMAT_ONNX` for one whose elements are no run of bytes and cannot become one
   */
  shell(replaced: ReadonlySet<SkeletonTensor>): Shell {
    const edits: { field: Stretch; bytes: Uint8Array; found: Found; hole: number | undefined }[] = [];
    const places: TensorPlace[] = [];
    const inPlace: Found[] = [];
    for (const found of this.#found) {
      if (!replaced.has(found)) continue;
      if (found.field === undefined) {
        if (found.offset === undefined)
          throw fail("replace", `${JSON.stringify(found.name)} is no run of bytes in the model`, 0);
        inPlace.push(found);
      } else if (found.sizeBytes < ONNX_EXTERNAL_BYTES_MIN) {
        edits.push({ field: found.field, found, ...this.#withHole(found.field, found.sizeBytes) });
      } else {
        const location = `tensor-${places.length}`;
        places.push({ tensor: found, at: { location } });
        edits.push({
          field: found.field,
          found,
          hole: undefined,
          bytes: this.#asExternal(found.field, location, found.sizeBytes),
        });
      }
    }
    const { model, placeOf } = this.#rebuilt(edits);
    for (const { field, found, hole } of edits)
      if (hole !== undefined) places.push({ tensor: found, at: { offset: placeOf(field.start) + hole } });
    for (const tensor of inPlace) places.push({ tensor, at: { offset: placeOf(tensor.offset!) } });
    return { model, places };
  }

  #add(names: Map<string, number>, name: string, fields: TensorFields, field: Stretch | undefined): void {
    const known = TYPES[fields.type];
    if (known === undefined || known.packed) return;
    const shape = known.perElement === undefined ? [...fields.dims] : [...fields.dims, known.perElement];
    const sizeBytes = measureShape(known.dtype, shape);
    if (typeof sizeBytes !== "number") throw fail("shape", "a tensor of no size", fields.at);
    const { data, isExternal } = fields;
    const listed = data?.dtype !== undefined && data.dtype !== known.dtype;
    const whole = data !== undefined && !listed && data.end - data.start === sizeBytes;
    if (data !== undefined && !isExternal && !whole && !listed)
      throw fail("size", `${name} takes ${sizeBytes} bytes, not ${data.end - data.start}`, fields.at);
    this.#push(names, {
      name,
      dtype: known.dtype,
      shape,
      sizeBytes,
      offset: whole && !isExternal ? data.start : undefined,
      ...(isExternal && { location: fields.external.get("location") ?? "" }),
      ...(field !== undefined && { field: { start: field.start, end: field.end } }),
    });
  }

  #push(
    names: Map<string, number>,
    found: Omit<Found, "isInitializer" | "location" | "field"> & { location?: string; field?: Stretch },
  ): void {
    if (this.#found.length === ONNX_TENSORS_MAX)
      throw fail("limit", `more than ${ONNX_TENSORS_MAX} tensors`, 0);
    const { field, location } = found;
    const name = uniqueName(found.name, names);
    this.#found.push({ ...found, name, location, field, isInitializer: field !== undefined });
  }

  /** A tensor's field with raw data of its size, still zero. */
  #withHole(field: Stretch, sizeBytes: number): { bytes: Uint8Array; hole: number } {
    const content = Buffer.concat([
      ...this.#described(field),
      bytesField(TENSOR.raw, new Uint8Array(sizeBytes)),
    ]);
    const bytes = Buffer.concat([this.#tag(field), varint(content.byteLength), content]);
    return { bytes, hole: bytes.byteLength - sizeBytes };
  }

  #asExternal(field: Stretch, location: string, sizeBytes: number): Uint8Array {
    const entry = (key: string, value: string) =>
      bytesField(
        TENSOR.external,
        Buffer.concat([bytesField(ENTRY.key, Buffer.from(key)), bytesField(ENTRY.value, Buffer.from(value))]),
      );
    const content = Buffer.concat([
      ...this.#described(field),
      entry("location", location),
      entry("offset", "0"),
      entry("length", String(sizeBytes)),
      varint(TENSOR.location * 8 + WIRE.varint),
      varint(EXTERNAL),
    ]);
    return Buffer.concat([this.#tag(field), varint(content.byteLength), content]);
  }

  /** The field's own tag, as it was written. */
  #tag({ start, end }: Stretch): Uint8Array {
    const tagEnd = this.#bytes.subarray(start, end).findIndex((byte) => byte < 0x80);
    return this.#bytes.subarray(start, start + tagEnd + 1);
  }

  /** What a tensor says of itself: all of its fields that are not its elements, or where they are. */
  #described({ start, end }: Stretch): Uint8Array[] {
    const reader = new WireReader(sourceOf(this.#bytes));
    const [message] = [...reader.fields(start, end)];
    const kept: Uint8Array[] = [];
    let at = message!.start;
    for (const part of reader.fields(message!.start, message!.end)) {
      if (part.number === TENSOR.dims || part.number === TENSOR.type || part.number === TENSOR.name)
        kept.push(this.#bytes.subarray(at, part.end));
      at = part.end;
    }
    return kept;
  }

  /** The model with fields of its main graph written anew, and where each byte that stayed is now. */
  #rebuilt(edits: { field: Stretch; bytes: Uint8Array }[]): {
    model: Uint8Array;
    placeOf(offset: number): number;
  } {
    const [{ field, content }] = this.#graphs as [{ field: Stretch; content: Stretch }];
    const sorted = [...edits].sort((a, b) => a.field.start - b.field.start);
    const growth = sorted.reduce((sum, edit) => sum + edit.bytes.byteLength - length(edit.field), 0);
    const before = this.#bytes.subarray(0, field.start);
    const head = Buffer.concat([this.#tag(field), varint(length(content) + growth)]);
    const pieces: Uint8Array[] = [before, head];
    const moved = [{ from: content.start, by: field.start + head.byteLength - content.start }];
    let at = content.start;
    for (const edit of sorted) {
      pieces.push(this.#bytes.subarray(at, edit.field.start), edit.bytes);
      const last = moved.at(-1)!.by;
      // An edited field begins where what is before it ends; what is behind it has moved by its growth too.
      moved.push({ from: edit.field.end, by: last + edit.bytes.byteLength - length(edit.field) });
      at = edit.field.end;
    }
    pieces.push(this.#bytes.subarray(at));
    return {
      model: new Uint8Array(Buffer.concat(pieces)),
      placeOf: (offset) =>
        offset + (offset < content.start ? 0 : moved.findLast(({ from }) => from <= offset)!.by),
    };
  }
}

function length({ start, end }: Stretch): number {
  return end - start;
}

function bytesField(number: number, content: Uint8Array): Uint8Array {
  return Buffer.concat([varint(number * 8 + WIRE.bytes), varint(content.byteLength), content]);
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Uint8Array.from([...bytes, rest]);
}

function fail(rule: string, problem: string, offset: number) {
  return malformed("ONNX", { rule, problem, offset }, "Export the skeleton again, or name another one.");
}
