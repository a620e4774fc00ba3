import type { Hono } from "hono";
import { streamSSE } from "hono/streaming";
import { SERVER_WATCHERS_MAX } from "../src/limits.ts";
import { badRequest, HttpFailure } from "./failure.ts";
import type { ServerContext } from "./options.ts";
import { versionJson } from "./ref-routes.ts";

/** How soon a version another process saved is seen: a look costs two small reads, and only while someone watches. */
const LOOK_MS = 50;

/** A comment this often keeps the connection through proxies, and finds out that the other side is gone. */
const COMMENT_MS = 15_000;

export interface Watchers {
  readonly count: number;
  /** Ends every stream. */
  close(): void;
}

/**
 * New versions as server-sent events: `event: version`, its JSON, and the version log's number as the event's id.
 * With `Last-Event-ID` it goes on right behind that one: nothing that became durable in between is passed over.
 * Without, it begins with the newest version of each ref asked for.
 */
export function addWatchRoute(app: Hono, { store }: ServerContext): Watchers {
  const { exchange, registry } = store.checkpoints;
  const open = new Set<() => void>();

  app.get("/v1/watch", (c) => {
    if (open.size >= SERVER_WATCHERS_MAX) throw new HttpFailure(503, "ERR_LIMIT", "too many watchers");
    const lastId = c.req.header("last-event-id") ?? c.req.query("since");
    if (lastId !== undefined && !/^\d{1,18}$/.test(lastId))
      throw badRequest("a Last-Event-ID that is none of ours");
    const refs = c.req.queries("ref");
    const wanted = (ref: string) => refs === undefined || refs.includes(ref);
    return streamSSE(c, async (stream) => {
      let ended = false;
      let wake = () => {};
      const end = () => {
        ended = true;
        wake();
      };
      open.add(end);
      stream.onAbort(end);
      try {
        let seq = BigInt(lastId ?? "0");
        let first = lastId === undefined;
        let quietMs = 0;
        while (!ended) {
          exchange.refresh();
          let added = registry.since(seq);
          seq = added.at(-1)?.seq ?? seq;
          if (first)
            added = added.filter(({ record }) => registry.newest(record.ref)?.version === record.version);
          first = false;
          for (const { seq: id, record } of added) {
            if (!wanted(record.ref)) continue;
            quietMs = 0;
            await stream.writeSSE({
              event: "version",
              id: String(id),
              data: JSON.stringify(versionJson(record)),
            });
          }
          if (quietMs >= COMMENT_MS) {
            quietMs = 0;
            await stream.write(": \n\n");
          }
          quietMs += LOOK_MS;
          await new Promise<void>((resolve) => {
            const timer = setTimeout(resolve, LOOK_MS);
            wake = () => {
              clearTimeout(timer);
              resolve();
            };
            if (ended) wake();
          });
        }
      } finally {
        open.delete(end);
      }
    });
  });

  return {
    get count() {
      return open.size;
    },
    close() {
      for (const end of open) end();
    },
  };
}
