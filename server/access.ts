import type { MiddlewareHandler } from "hono";
import { HttpFailure } from "./failure.ts";
import type { ServerContext } from "./options.ts";
import type { Scope } from "./tokens.ts";

/** Routes that ask or carry something in a POST and change nothing. */
const ASKING = new Set(["/v1/have", "/v1/chunks/get"]);

/** Public: what a load balancer and a code generator read. */
const OPEN = new Set(["/healthz", "/openapi.json"]);

const LOCAL_HOSTS = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i;

/** What is looked at of a request. */
export interface AccessRequest {
  method: string;
  path: string;
  header(name: "authorization" | "host" | "origin"): string | undefined;
}

/**
 * Who may do what. Without tokens, on a loopback address, everyone on this machine may; a browser may not, since
 * pages of other sites can make it send requests here.
 * @throws HttpFailure 401 or 403
 */
export function requireAccess({ tokens, loopback, readOnly }: ServerContext, request: AccessRequest): void {
  const { path } = request;
  const changes = changesStore(request);
  if (tokens === undefined && loopback) refuseBrowsers(request);
  if (tokens !== undefined && !OPEN.has(path)) {
    const [, token] = /^Bearer ([\x21-\x7e]+)$/i.exec(request.header("authorization") ?? "") ?? [];
    const scopes = token === undefined ? undefined : tokens.scopesOf(token);
    if (scopes === undefined) {
      const headers = { "www-authenticate": 'Bearer realm="varve"' };
      throw new HttpFailure(401, "ERR_INVALID_ARGUMENT", "a token is needed: Authorization: Bearer TOKEN", {
        headers,
      });
    }
    const needed = neededScopes(path, changes);
    if (!needed.some((scope) => scopes.has(scope))) {
      throw new HttpFailure(403, "ERR_INVALID_ARGUMENT", `this token lacks the scope ${needed.join(" or ")}`);
    }
  }
  if (readOnly && changes)
    throw new HttpFailure(403, "ERR_INVALID_ARGUMENT", "this server was started read-only");
}

export function checkAccess(context: ServerContext): MiddlewareHandler {
  return async (c, next) => {
    requireAccess(context, { method: c.req.method, path: c.req.path, header: (name) => c.req.header(name) });
    await next();
  };
}

function changesStore({ method, path }: AccessRequest): boolean {
  return !["GET", "HEAD", "OPTIONS"].includes(method) && !ASKING.has(path);
}

function neededScopes(path: string, changes: boolean): Scope[] {
  if (path === "/v1/commit") return ["commit"];
  if (changes) return ["save"];
  // A client that saves asks what is there already.
  return path === "/v1/have" || path.startsWith("/v1/refs") || path.startsWith("/v1/manifests")
    ? ["read", "save"]
    : ["read"];
}

function refuseBrowsers(request: AccessRequest): void {
  const host = request.header("host");
  if (request.header("origin") === undefined && (host === undefined || LOCAL_HOSTS.test(host))) return;
  const message = "without tokens this server answers programs of this machine alone, not browsers";
  throw new HttpFailure(403, "ERR_INVALID_ARGUMENT", message);
}
