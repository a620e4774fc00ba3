import { Hono } from "hono";
import { SERVER_BODIES_MAX, SERVER_WAITING_MAX } from "../src/limits.ts";
import { checkAccess } from "./access.ts";
import { addChunkRoutes } from "./chunk-routes.ts";
import { CommitRoute } from "./commit-route.ts";
import { addCriticalRoutes } from "./critical-routes.ts";
import { ShaNames } from "./digests.ts";
import { failureResponse, HttpFailure } from "./failure.ts";
import { addManifestRoutes } from "./manifest-routes.ts";
import { Metrics } from "./metrics.ts";
import { openApiDocument } from "./openapi.ts";
import type { ServerContext } from "./options.ts";
import { addRefRoutes } from "./ref-routes.ts";
import { addTableRoutes } from "./table-routes.ts";
import { addTransferRoutes } from "./transfer-routes.ts";
import { Turns } from "./turns.ts";
import { addWatchRoute } from "./watch-route.ts";

export interface ServerApp {
  fetch: Hono["fetch"];
  commits: CommitRoute;
  metrics: Metrics;
  /** Ends what would never end by itself. */
  close(): void;
}

/** Every route over one open store; docs/server.md describes them. */
export function createApp(context: ServerContext): ServerApp {
  const app = new Hono();
  const metrics = new Metrics();
  const turns = new Turns(SERVER_BODIES_MAX, SERVER_WAITING_MAX);
  const names = new ShaNames(context.store.checkpoints.exchange);
  const parts = { ...context, metrics, names, turns };

  app.use("*", async (c, next) => {
    const started = performance.now();
    await next();
    const ms = performance.now() - started;
    metrics.requests.add(1, { method: methodLabel(c.req.method), status: String(c.res.status) });
    metrics.requestSeconds.observe(ms / 1000);
    const { method, path } = c.req;
    context.log("request", {
      method,
      path: path.slice(0, 300),
      status: c.res.status,
      ms: Math.round(ms * 100) / 100,
    });
  });
  app.use("*", checkAccess(context));
  app.onError((error, c) => {
    const response = failureResponse(c, error);
    if (response.status >= 500) {
      context.log("failure", {
        path: c.req.path.slice(0, 300),
        status: response.status,
        error: String(error),
      });
    }
    return response;
  });
  app.notFound((c) =>
    failureResponse(c, new HttpFailure(404, "ERR_NOT_FOUND", "there is nothing at this address")),
  );

  app.get("/healthz", (c) => c.json({ ok: true, store: context.store.id, readOnly: context.readOnly }));
  app.get("/metrics", (c) => c.body(metrics.render(), 200, { "content-type": "text/plain; version=0.0.4" }));
  app.get("/openapi.json", (c) => c.json(openApiDocument()));
  addChunkRoutes(app, parts);
  addManifestRoutes(app, parts);
  addRefRoutes(app, parts);
  addTransferRoutes(app, parts);
  addCriticalRoutes(app, context);
  addTableRoutes(app, parts);
  const watchers = addWatchRoute(app, context);

  metrics.gauge("varve_turns_busy", "Requests with a body in memory.", () => turns.busy);
  metrics.gauge("varve_turns_waiting", "Requests that wait for their turn.", () => turns.waiting);
  metrics.gauge("varve_puts_queued", "Batches of chunks on their way to the disk.", () => {
    return context.store.checkpoints.exchange.queuedPuts;
  });
  metrics.gauge("varve_watchers", "Open event streams.", () => watchers.count);
  metrics.gauge("varve_sha256_names", "Chunks known by their SHA-256.", () => names.size);
  return {
    fetch: app.fetch,
    commits: new CommitRoute(context, metrics),
    metrics,
    close: () => watchers.close(),
  };
}

/** Methods are the client's to invent; labels are not. */
function methodLabel(method: string): string {
  return ["GET", "HEAD", "PUT", "POST"].includes(method) ? method : "OTHER";
}
