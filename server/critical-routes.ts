import type { Hono } from "hono";
import { HttpFailure } from "./failure.ts";
import type { ServerContext } from "./options.ts";
import { writeValue } from "./values.ts";

/** Critical state, as it can be read. */
export function addCriticalRoutes(app: Hono, { store, readOnly }: ServerContext): void {
  app.get("/v1/critical/:map/:key{.+}", (c) => {
    const { critical } = store;
    if (readOnly) critical.refresh();
    const [map, key] = [c.req.param("map"), c.req.param("key")];
    const entry = critical.peek(map).entry(key);
    if (entry === undefined) throw new HttpFailure(404, "ERR_NOT_FOUND", `there is no ${key} in ${map}`);
    const version = entry.version.toString();
    const etag = `"${version}"`;
    if (c.req.header("if-none-match") === etag) return c.body(null, 304, { etag });
    return c.json({ map, key, value: writeValue(entry.value), version }, 200, { etag });
  });
}
