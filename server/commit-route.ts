import type { IncomingMessage, ServerResponse } from "node:http";
import type { Receipt } from "../src/critical/critical.ts";
import { requireAccess } from "./access.ts";
import { parseObject } from "./body.ts";
import { type CommitRequest, commitAnswer, readCommit } from "./changes.ts";
import { bigintText, failureAnswer } from "./failure.ts";
import type { Metrics } from "./metrics.ts";
import type { ServerContext } from "./options.ts";
import { readRawBody } from "./raw-body.ts";

const PATH = "/v1/commit";

/** A write that took longer says that the disk is slow, or busy: for a while this thread does not wait for it. */
const SLOW_MS = 10;
const AWAY_MS = 1000;

type Results = Receipt<ReturnType<CommitRequest["fn"]>>;

interface Waiting extends CommitRequest {
  resolve(receipt: Results): void;
  reject(error: unknown): void;
}

/**
 * `POST /v1/commit`: one request is one transaction, durable when it is answered. The store must be open for writing in
 * this process: one process at a time has critical state open for writing.
 *
 * It is the one route whose work takes less than HTTP does, so it is answered from Node.js' own requests. What comes in
 * one turn of the event loop goes to the log together. A request that comes alone is written at once, on this thread: a
 * hop to the log's thread and back takes longer than the disk.
 */
export class CommitRoute {
  readonly #context: ServerContext;
  readonly #metrics: Metrics;
  #gathered: Waiting[] = [];
  #inFlight = 0;
  #awayUntilMs = 0;

  constructor(context: ServerContext, metrics: Metrics) {
    this.#context = context;
    this.#metrics = metrics;
  }

  takes({ method, url = "" }: IncomingMessage): boolean {
    return method === "POST" && (url === PATH || url.startsWith(`${PATH}?`));
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const startedMs = performance.now();
    let status = 200;
    try {
      requireAccess(this.#context, {
        method: "POST",
        path: PATH,
        header: (name) => request.headers[name],
      });
      const body = parseObject(await readRawBody(request));
      const key = request.headers["idempotency-key"];
      const commit = readCommit(this.#context.store, body, Array.isArray(key) ? key[0] : key);
      send(response, 200, commitAnswer(await this.#commit(commit)));
    } catch (error) {
      const failure = failureAnswer(error);
      status = failure.status;
      if (status >= 500) this.#context.log("failure", { path: PATH, status, error: String(error) });
      send(response, status, JSON.stringify(failure.body, bigintText), {
        ...failure.headers,
        // What is left of a body that was not read would be taken for the next request.
        ...(request.complete ? {} : { connection: "close" }),
      });
    }
    this.#count(status, performance.now() - startedMs);
  }

  #commit(commit: CommitRequest): Promise<Results> {
    return new Promise((resolve, reject) => {
      // Others that came with this one are parsed before the event loop gets there.
      if (this.#gathered.length === 0) setImmediate(() => this.#write());
      this.#gathered.push({ ...commit, resolve, reject });
    });
  }

  #write(): void {
    const gathered = this.#gathered;
    this.#gathered = [];
    const [first] = gathered;
    const alone = gathered.length === 1 && this.#inFlight === 0;
    if (alone && performance.now() >= this.#awayUntilMs) this.#writeHere(first!);
    else for (const commit of gathered) void this.#writeAway(commit);
  }

  async #writeAway({ fn, options, resolve, reject }: Waiting): Promise<void> {
    this.#inFlight++;
    try {
      resolve(await this.#context.store.critical.commitAsync(fn, options));
    } catch (error) {
      reject(error);
    } finally {
      this.#inFlight--;
    }
  }

  #writeHere({ fn, options, resolve, reject }: Waiting): void {
    const beganMs = performance.now();
    try {
      resolve(this.#context.store.critical.commit(fn, options));
    } catch (error) {
      reject(error);
    }
    const endedMs = performance.now();
    if (endedMs - beganMs > SLOW_MS) this.#awayUntilMs = endedMs + AWAY_MS;
  }

  #count(status: number, ms: number): void {
    this.#metrics.requests.add(1, { method: "POST", status: String(status) });
    this.#metrics.requestSeconds.observe(ms / 1000);
    this.#context.log("request", { method: "POST", path: PATH, status, ms: Math.round(ms * 100) / 100 });
  }
}

function send(
  response: ServerResponse,
  status: number,
  body: string,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    ...headers,
  });
  response.end(body);
}
