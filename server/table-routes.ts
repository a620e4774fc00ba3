import type { Context, Hono } from "hono";
import { sliceTable } from "../formats/tables/combine.ts";
import type { Table } from "../formats/tables/table.ts";
import {
  SERVER_APPEND_BYTES_MAX,
  SERVER_APPEND_ROWS_MAX,
  SERVER_ARROW_TABLES_MAX,
  SERVER_EXPANDED_BYTES_MAX,
} from "../src/limits.ts";
import type { RangeRead } from "../src/series/range-read.ts";
import type { Series } from "../src/series/series.ts";
import { readBytes } from "./body.ts";
import { badRequest, HttpFailure } from "./failure.ts";
import type { ServerContext } from "./options.ts";
import { batchFor } from "./series-rows.ts";
import type { Turns } from "./turns.ts";

const ARROW_STREAM = "application/vnd.apache.arrow.stream";

/** Rows that go in one by one before others have their turn: about 10 ms. */
const SINGLE_ROWS = 1024;

/** Series and feature tables as Arrow IPC streams, uncompressed. */
export function addTableRoutes(
  app: Hono,
  { store, readOnly, turns }: ServerContext & { turns: Turns },
): void {
  app.get("/v1/features/:name{.+}", async (c) => {
    const version = wholeOf(c, "version");
    const columns = c.req.queries("column");
    const options = {
      ...(columns && { columns }),
      ...(version !== undefined && { version: Number(version) }),
    };
    return arrowStream([await store.features.loadColumns(c.req.param("name"), options)]);
  });

  app.get("/v1/series/:name{.+}", (c) => {
    const [fromNs, toNs] = [wholeOf(c, "fromNs"), wholeOf(c, "toNs")];
    const columns = c.req.queries("column");
    // A reader of its own beside the writer, in this process or another; it goes when the stream does.
    const series = store.series.open(c.req.param("name"), { readOnly: true });
    const read = series.range({
      ...(fromNs !== undefined && { fromNs }),
      ...(toNs !== undefined && { toNs }),
      columns,
    });
    return arrowStream(tablesOf(series, read));
  });

  app.post("/v1/series/:name{.+}", (c) =>
    turns.take(async () => {
      const name = c.req.param("name");
      const body = await readBytes(c, SERVER_APPEND_BYTES_MAX);
      const series = openWriter(name);
      const tables = await rowsOf(body);
      let rows = 0;
      // A batch is appended whole or not at all, where the series takes batches at all.
      const atOnce = series.appendsSingly ? SINGLE_ROWS : SERVER_APPEND_ROWS_MAX;
      for (const table of tables) {
        for (let from = 0; from < table.rows; from += atOnce) {
          rows += series.appendColumns(batchFor(series.columns, sliceTable(table, from, from + atOnce)));
          await new Promise(setImmediate);
        }
      }
      // What is answered would survive a power cut.
      await series.flush();
      return c.json({ rows, ...series.positions() });
    }),
  );

  /** The process's one writer of a series; it stays open, as opening takes longer than a batch. */
  function openWriter(name: string): Series {
    if (readOnly) throw new HttpFailure(403, "ERR_INVALID_ARGUMENT", "this server was started read-only");
    return store.series.open(name);
  }
}

/**
 * All rows of a stream, before any is appended. What is made of a body of this size is bounded in memory and time, and
 * others have their turn between two batches.
 */
async function rowsOf(body: Uint8Array): Promise<Table[]> {
  const { readArrow } = await import("../formats/arrow/reader.ts");
  const limits = {
    compressed: false,
    tablesMax: SERVER_ARROW_TABLES_MAX,
    expandedBytesMax: SERVER_EXPANDED_BYTES_MAX,
  };
  const tables: Table[] = [];
  let rows = 0;
  for await (const table of readArrow(body.slice(), limits)) {
    rows += table.rows;
    if (rows > SERVER_APPEND_ROWS_MAX)
      throw new HttpFailure(413, "ERR_LIMIT", `more than ${SERVER_APPEND_ROWS_MAX} rows in one request`);
    tables.push(table);
    await new Promise(setImmediate);
  }
  return tables;
}

/** The rows a batch at a time, and at least one batch: it brings the columns. */
async function* tablesOf(series: Series, read: RangeRead): AsyncGenerator<Table> {
  const { fromArrow } = await import("../formats/arrow/convert.ts");
  try {
    let batches = 0;
    for await (const batch of read) {
      yield fromArrow(batch);
      batches++;
    }
    if (batches === 0) yield fromArrow(await read.table());
  } finally {
    await series.close();
  }
}

/** Each piece is made when the network has taken the one before it. */
async function arrowStream(tables: AsyncIterable<Table> | Iterable<Table>): Promise<Response> {
  const { writeArrow } = await import("../formats/arrow/writer.ts");
  const pieces = writeArrow(tables, { layout: "stream" });
  // The first is made before the answer begins: what cannot be read is still an error of its own.
  let next: Promise<IteratorResult<Uint8Array>> | undefined = Promise.resolve(await pieces.next());
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      async pull(controller) {
        const { done, value } = await (next ?? pieces.next());
        next = undefined;
        if (done === true) controller.close();
        else controller.enqueue(new Uint8Array(value));
      },
      async cancel() {
        await pieces.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { headers: { "content-type": ARROW_STREAM } });
}

function wholeOf(c: Context, name: string): bigint | undefined {
  const text = c.req.query(name);
  if (text === undefined) return undefined;
  if (!/^-?\d{1,19}$/.test(text)) throw badRequest(`${name} is no whole number`);
  return BigInt(text);
}
