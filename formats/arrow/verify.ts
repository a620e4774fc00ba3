import { StoreError } from "../../src/errors.ts";
import {
  ARROW_DELTAS_MAX,
  ARROW_NESTING_MAX,
  ARROW_ROWS_MAX,
  ARROW_TABLES_MAX,
  TABLE_COLUMNS_MAX,
} from "../../src/limits.ts";
import { type Budget, Flatbuffer, type FlatTable } from "./flatbuffer.ts";

/*
 * The metadata of Arrow IPC, by slot (source: format/Message.fbs, Schema.fbs and File.fbs of Arrow 21):
 *
 *   Message          1 header's type, 2 header, 3 body's length, 4 metadata
 *   Schema           1 fields, 2 metadata
 *   Field            0 name, 2 type's type, 3 type, 4 dictionary, 5 children, 6 metadata
 *   Dictionary       0 id, 1 index type
 *   RecordBatch      0 length, 1 nodes (length, nulls), 2 buffers (offset, length), 3 compression, 4 variadic counts
 *   DictionaryBatch  0 id, 1 data, 2 delta
 *   Footer           1 schema, 2 dictionaries, 3 batches (offset, metadata's length, body's length), 4 metadata
 *   KeyValue         0 key, 1 value
 */
const HEADER = { schema: 1, dictionary: 2, batch: 3 } as const;
const TYPE = { timestamp: 10, union: 14 } as const;

const MAGIC = "ARROW1";
const CONTINUATION = -1;

/** A field as far as it matters here: how many nodes it takes of a batch. */
interface FieldShape {
  nodes: number;
  /** The id of its dictionary, and the nodes of what that holds. */
  dictionaries: [id: number, nodes: number][];
}

export interface VerifyOptions {
  /** Tables of metadata at most: a batch has two or three, a field two or more. Default: `ARROW_TABLES_MAX`. */
  tablesMax?: number;
  /** Whether buffers may be compressed: what they expand to is known when it is there. Default: true. */
  compressed?: boolean;
}

/**
 * Holds an Arrow IPC file or stream to what its reader takes on trust: metadata within themselves and of bounded size,
 * buffers within their message's body, as many nodes as the schema has fields, and every column as long as its batch.
 * Takes time in proportion to the metadata; bodies are not read.
 * @throws `ERR_FORMAT_ARROW`
 */
export function verifyArrow(bytes: Uint8Array, options: VerifyOptions = {}): void {
  const check = new Verification(bytes, options);
  if (textAt(bytes, 0, MAGIC.length) === MAGIC) check.file();
  else check.stream();
}

class Verification {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #budget: Budget;
  readonly #compressed: boolean;
  readonly #dictionaries = new Map<number, number>();
  #fields: FieldShape[] | undefined;
  #deltas = 0;

  constructor(bytes: Uint8Array, { tablesMax = ARROW_TABLES_MAX, compressed = true }: VerifyOptions) {
    this.#bytes = bytes;
    // Writers share a text or two; a vector that comes again and again would make much of little.
    this.#budget = { tables: tablesMax, bytes: 2 * bytes.byteLength + 4096 };
    this.#compressed = compressed;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  stream(): void {
    for (let at = 0; at + 4 <= this.#bytes.byteLength; ) {
      const end = this.#message(at);
      if (end === undefined) return;
      at = end;
    }
  }

  file(): void {
    const tail = this.#bytes.byteLength - MAGIC.length - 4;
    if (tail < 8 || textAt(this.#bytes, tail + 4, MAGIC.length) !== MAGIC) throw broken("it ends too early");
    const footerBytes = this.#view.getInt32(tail, true);
    if (footerBytes <= 0 || footerBytes > tail - 8) throw broken("its footer is larger than itself");
    const footer = this.#metadata(tail - footerBytes, footerBytes).root();
    const schema = footer.table(1);
    if (schema === undefined) throw broken("it has no schema");
    this.#schema(schema);
    checkPairs(footer, 4);
    // One behind the other: a footer that names one message again and again would make much of little.
    for (const slot of [2, 3]) {
      let last = -1;
      for (const [at] of footer.structs(slot, 24, [0])) {
        if (at! <= last || at! >= tail) throw broken("its batches do not lie one behind the other");
        last = at!;
        if (this.#message(at!) === undefined) throw broken("a batch is missing");
      }
    }
  }

  /** Where the message ends that begins at `at`; `undefined` for the mark of a stream's end. */
  #message(at: number): number | undefined {
    if (at + 4 > this.#bytes.byteLength) throw broken("it ends too early");
    let start = at + 4;
    let sizeBytes = this.#view.getInt32(at, true);
    if (sizeBytes === CONTINUATION) {
      if (at + 8 > this.#bytes.byteLength) throw broken("it ends too early");
      sizeBytes = this.#view.getInt32(at + 4, true);
      start = at + 8;
    }
    if (sizeBytes === 0) return undefined;
    const message = this.#metadata(start, sizeBytes).root();
    const bodyBytes = message.long(3);
    const bodyAt = start + sizeBytes;
    if (bodyBytes < 0 || bodyAt + bodyBytes > this.#bytes.byteLength) throw broken("it ends too early");
    checkPairs(message, 4);
    this.#header(message, bodyBytes);
    return bodyAt + bodyBytes;
  }

  #metadata(at: number, sizeBytes: number): Flatbuffer {
    if (sizeBytes < 8 || at + sizeBytes > this.#bytes.byteLength) throw broken("it ends too early");
    return new Flatbuffer(this.#bytes.subarray(at, at + sizeBytes), this.#budget);
  }

  #header(message: FlatTable, bodyBytes: number): void {
    const type = message.byte(1);
    const header = message.table(2);
    if (header === undefined) throw broken("a message holds nothing");
    if (type === HEADER.schema) {
      // A file has its schema in the footer, and at the beginning for those who read it as a stream.
      if (this.#fields !== undefined) throw broken("it has a second schema");
      this.#schema(header);
    } else if (this.#fields === undefined) throw broken("it does not begin with a schema");
    else if (type === HEADER.dictionary) this.#dictionary(header, bodyBytes);
    else if (type === HEADER.batch) {
      const columns = this.#fields.map(({ nodes }) => nodes);
      this.#batch(header, bodyBytes, columns);
    } else throw broken(`a message of type ${type}`);
  }

  #schema(schema: FlatTable): void {
    checkPairs(schema, 2);
    const fields = schema.tables(1);
    if (fields.length > TABLE_COLUMNS_MAX) throw broken(`it has more than ${TABLE_COLUMNS_MAX} columns`);
    this.#fields = fields.map((field) => this.#field(field, 0));
    for (const { dictionaries } of this.#fields)
      for (const [id, nodes] of dictionaries) this.#dictionaries.set(id, nodes);
  }

  #field(field: FlatTable, depth: number): FieldShape {
    if (depth > ARROW_NESTING_MAX) throw broken(`fields nested more than ${ARROW_NESTING_MAX} deep`);
    field.check(0);
    checkPairs(field, 6);
    const typeId = field.byte(2);
    const type = field.table(3);
    if (typeId === TYPE.timestamp) type?.check(1);
    if (typeId === TYPE.union) type?.check(1, 4);
    const children = field.tables(5).map((child) => this.#field(child, depth + 1));
    const nodes = 1 + children.reduce((sum, child) => sum + child.nodes, 0);
    const dictionaries = children.flatMap((child) => child.dictionaries);
    const dictionary = field.table(4);
    if (dictionary === undefined) return { nodes, dictionaries };
    dictionary.table(1);
    return { nodes: 1, dictionaries: [...dictionaries, [dictionary.long(0), nodes]] };
  }

  #dictionary(header: FlatTable, bodyBytes: number): void {
    const data = header.table(1);
    const nodes = this.#dictionaries.get(header.long(0));
    if (data === undefined || nodes === undefined) throw broken("a dictionary that no column has");
    // Each is put behind those before it again for the batches that follow.
    if (header.byte(2) !== 0 && ++this.#deltas > ARROW_DELTAS_MAX)
      throw broken(`more than ${ARROW_DELTAS_MAX} parts of dictionaries`);
    this.#batch(data, bodyBytes, [nodes]);
  }

  /** @param columns how many nodes each column takes: itself, then its children */
  #batch(batch: FlatTable, bodyBytes: number, columns: readonly number[]): void {
    const rows = batch.long(0);
    if (rows < 0 || rows > ARROW_ROWS_MAX) throw broken(`a batch of ${rows} rows`);
    const nodes = batch.structs(1, 16, [0, 8]);
    for (const [length, nulls] of nodes) {
      if (length! < 0 || nulls! < 0 || nulls! > length!) throw broken("a column with more nulls than rows");
    }
    let at = 0;
    for (const count of columns) {
      // A shorter column would be filled up, to any length its batch names.
      if (nodes[at]?.[0] !== rows) throw broken("a column that is not as long as its batch");
      at += count;
    }
    if (nodes.length !== at) throw broken(`${nodes.length} columns where the schema has ${at}`);
    const buffers = batch.structs(2, 16, [0, 8]);
    for (const [offset, length] of buffers) {
      if (offset! < 0 || length! < 0 || offset! + length! > bodyBytes)
        throw broken("a buffer outside of its message");
    }
    const isCompressed = batch.table(3) !== undefined;
    if (isCompressed && !this.#compressed) throw broken("its buffers are compressed");
    const variadic = batch.structs(4, 8, [0]).reduce((sum, [count]) => sum + Math.abs(count!), 0);
    if (variadic > buffers.length) throw broken("more buffers than there are");
  }
}

/** Custom metadata: keys and values. */
function checkPairs(table: FlatTable, slot: number): void {
  for (const pair of table.tables(slot)) {
    pair.check(0);
    pair.check(1);
  }
}

function textAt(bytes: Uint8Array, at: number, length: number): string {
  return Buffer.from(bytes.subarray(at, at + length)).toString("latin1");
}

function broken(what: string): StoreError {
  return new StoreError("ERR_FORMAT_ARROW", `the Arrow data cannot be read: ${what}`, {
    hint: "The file is damaged, cut short, or no Arrow IPC.",
  });
}
