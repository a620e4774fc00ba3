import { createRequire } from "node:module";
import { join } from "node:path";

/**
 * Other tools that the benches install and the package does not: where one is absent, its tests are skipped and say so.
 */
const require = createRequire(join(import.meta.dirname, "../../bench/package.json"));

function load<T>(name: string): T | undefined {
  try {
    return require(name) as T;
  } catch {
    return undefined;
  }
}

export interface DuckResult {
  getRowsJson(): unknown[][];
}

export interface DuckConnection {
  runAndReadAll(sql: string): Promise<DuckResult>;
  run(sql: string): Promise<unknown>;
}

interface Duck {
  DuckDBInstance: { create(path: string): Promise<{ connect(): Promise<DuckConnection> }> };
}

const duck = load<Duck>("@duckdb/node-api");

export const polars = load<{ readIPC(bytes: Buffer): Frame; readIPCStream?(bytes: Buffer): Frame }>(
  "nodejs-polars",
);

export interface Frame {
  height: number;
  columns: string[];
  getColumn(name: string): { toArray(): unknown[] };
}

export const duckSkipped = duck === undefined ? " (skipped: install bench/ for @duckdb/node-api)" : "";
export const polarsSkipped = polars === undefined ? " (skipped: install bench/ for nodejs-polars)" : "";
export const hasDuck = duck !== undefined;

export async function openDuck(): Promise<DuckConnection> {
  return (await duck!.DuckDBInstance.create(":memory:")).connect();
}
