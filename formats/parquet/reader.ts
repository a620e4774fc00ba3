import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { builtFile } from "../../src/built.ts";
import { fromErrorRecord, StoreError } from "../../src/errors.ts";
import { PARQUET_HEAP_BYTES_MAX, PARQUET_MEMORY_BYTES_MAX, PARQUET_STEP_MS_MAX } from "../../src/limits.ts";
import type { Column, Table } from "../tables/table.ts";
import type { DecodeStep } from "./decode.ts";
import { type DecodeLimits, type DecodeReply, type DecodeStart, OUT_OF_TIME } from "./messages.ts";

export interface ReadParquetOptions {
  batchRows?: number;
  /** For tests. */
  limits?: Partial<DecodeLimits>;
}

/** What a process takes before it has decoded anything. */
const PROCESS_BYTES = 256 << 20;

/**
 * Reads a Parquet file as tables of up to `batchRows` rows, in memory of their own.
 *
 * It is decoded in a process of its own, bounded in time and memory: a few bytes can ask for loops without end and for
 * arrays so large that V8 ends the whole process, on whatever thread it happens.
 * @throws `ERR_FORMAT_PARQUET` for damaged files, nested columns, types that have no place in a table, and files that
 *   take more time or memory to decode than `src/limits/formats.ts` allows
 */
export async function* readParquet(
  bytes: Uint8Array,
  options: ReadParquetOptions = {},
): AsyncGenerator<Table> {
  const decoder = new Decoder(bytes, options);
  try {
    for (let table = await decoder.next(); table !== undefined; table = await decoder.next()) yield table;
  } finally {
    decoder.end();
  }
}

/** The process, seen from here. */
class Decoder {
  readonly #child: ChildProcess;
  readonly #limits: DecodeLimits;
  #columns: Column[] = [];
  #step: DecodeStep;
  #waiting: { resolve(table: Table | undefined): void; reject(error: StoreError): void } | undefined;
  #ended: StoreError | undefined;

  constructor(bytes: Uint8Array, { batchRows, limits }: ReadParquetOptions) {
    this.#limits = {
      stepMs: PARQUET_STEP_MS_MAX,
      heapBytes: PARQUET_HEAP_BYTES_MAX,
      memoryBytes: PARQUET_MEMORY_BYTES_MAX,
      ...limits,
    };
    const { stepMs, heapBytes, memoryBytes } = this.#limits;
    const start: DecodeStart = {
      ...(batchRows === undefined ? {} : { batchRows }),
      stepMs,
      memoryBytes: memoryBytes + 2 * bytes.byteLength + PROCESS_BYTES,
    };
    const script = fileURLToPath(builtFile(import.meta.url, "./decode.child.js"));
    this.#child = fork(script, [JSON.stringify(start)], {
      execArgv: [`--max-old-space-size=${Math.ceil(heapBytes / 2 ** 20)}`],
      serialization: "advanced",
      // What V8 says when it ends says nothing of the file.
      stdio: ["pipe", "ignore", "ignore", "ipc"],
    });
    this.#child.on("message", (reply: DecodeReply) => this.#take(reply));
    this.#child.on("error", (cause) => {
      this.#fail(
        new StoreError("ERR_IO", "the process that decodes Parquet could not be started", { cause }),
      );
    });
    // What it has told is heard before its channel ends.
    let left = 2;
    const gone = () => {
      const { exitCode, signalCode } = this.#child;
      if (--left === 0) this.#fail(this.#died(signalCode ?? `exit code ${exitCode}`));
    };
    this.#child.on("exit", gone);
    this.#child.on("disconnect", gone);
    // How it ended says why its input broke off.
    this.#child.stdin!.on("error", () => {});
    this.#child.stdin!.end(bytes);
  }

  /** The next batch, or `undefined` at the end. */
  next(): Promise<Table | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) return reject(this.#ended);
      this.#waiting = { resolve, reject };
      // Should it be gone, that is told when it is seen.
      this.#child.send("next", () => {});
    });
  }

  end(): void {
    this.#child.kill("SIGKILL");
  }

  #take(reply: DecodeReply): void {
    if ("step" in reply) this.#step = reply.step;
    else if ("column" in reply) this.#columns.push(reply.column);
    else if ("failed" in reply) this.#fail(fromErrorRecord(reply.failed));
    else {
      const table = "rows" in reply ? { rows: reply.rows, columns: this.#columns } : undefined;
      this.#columns = [];
      this.#waiting?.resolve(table);
      this.#waiting = undefined;
    }
  }

  #fail(error: StoreError): void {
    this.#ended ??= error;
    this.#waiting?.reject(this.#ended);
    this.#waiting = undefined;
  }

  #died(how: string): StoreError {
    const step = this.#step;
    const place =
      step === undefined
        ? "its footer"
        : `column ${JSON.stringify(step.column)}, rows ${step.fromRow} to ${step.toRow}`;
    const { stepMs, memoryBytes } = this.#limits;
    const what =
      how === OUT_OF_TIME
        ? `decoding it took more than ${stepMs / 1000} s`
        : `decoding it took more memory than there is for it, or ended its process (${how})`;
    return new StoreError("ERR_FORMAT_PARQUET", `the Parquet file cannot be read: ${place}: ${what}`, {
      context: {
        ...step,
        ended: how,
        ...(how === OUT_OF_TIME ? { limitMs: stepMs } : { limitBytes: memoryBytes }),
      },
      hint: "The file is damaged, or its row groups are too large: write it again with row groups of a million rows or fewer.",
    });
  }
}
