import { parentPort } from "node:worker_threads";
import { type ErrorRecord, toErrorRecord } from "../errors.ts";
import { Moving } from "./job.ts";

/** The worker's side of the pool: imports the module a job names, calls the function, posts what it returns. */
export interface Request {
  id: number;
  url: string;
  name: string;
  args: unknown;
}

export interface Reply {
  id: number;
  value?: unknown;
  /** Something a job tells while it goes on. */
  report?: unknown;
  error?: ErrorRecord;
}

parentPort?.on("message", async (request: Request) => {
  try {
    const module = (await import(request.url)) as Record<
      string,
      (args: unknown, report: (value: unknown) => void) => unknown
    >;
    const report = (value: unknown) =>
      parentPort!.postMessage({ id: request.id, report: value } satisfies Reply);
    const result = await module[request.name]!(request.args, report);
    const { value, memory } = result instanceof Moving ? result : { value: result, memory: [] };
    parentPort!.postMessage({ id: request.id, value } satisfies Reply, memory);
  } catch (error) {
    parentPort!.postMessage({ id: request.id, error: toErrorRecord(error) } satisfies Reply);
  }
});
