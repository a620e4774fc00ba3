import type { Context, Hono } from "hono";
import type { ParentRule, VersionRecord } from "../checkpoints/registry.ts";
import { resolveSelector } from "../checkpoints/selector.ts";
import { isStoreError } from "../src/errors.ts";
import { readJson } from "./body.ts";
import { hex, parseDigest } from "./digests.ts";
import { badRequest, HttpFailure } from "./failure.ts";
import { missingAnswer } from "./manifest-routes.ts";
import type { Metrics } from "./metrics.ts";
import type { ServerContext } from "./options.ts";

/** Refs as resources: an entity tag is the version's number, which is never used again. */
export function addRefRoutes(app: Hono, { store, metrics }: ServerContext & { metrics: Metrics }): void {
  const { checkpoints } = store;
  const { exchange, registry } = checkpoints;

  app.get("/v1/refs", (c) => {
    exchange.refresh();
    return c.json({ refs: checkpoints.refs().map((ref) => ({ ...ref, timeUs: ref.timeUs.toString() })) });
  });

  app.get("/v1/refs/:name{.+}", (c) => {
    const name = c.req.param("name");
    exchange.refresh();
    if (c.req.query("log") !== undefined)
      return c.json({ versions: registry.versions(name).map(versionJson) });
    const at = c.req.query("at");
    const record = resolveSelector(registry, at === undefined ? name : `${name}@${at}`);
    const headers = { etag: etagOf(record.version) };
    if (
      c.req
        .header("if-none-match")
        ?.split(/\s*,\s*/)
        .includes(headers.etag)
    )
      return c.body(null, 304, headers);
    return c.json(versionJson(record), 200, headers);
  });

  app.put("/v1/refs/:name{.+}", async (c) => {
    const name = c.req.param("name");
    const body = await readJson(c);
    const rule = ruleOf(c, name, body["parent"]);
    const started = performance.now();
    const moved = await moveRef(name, body, rule);
    if (moved === undefined) return preconditionFailed(c, name);
    if ("missing" in moved) return c.json(missingAnswer(moved.missing.map(hex)), 409);
    metrics.saves.add(1);
    metrics.savedBytes.add(moved.logicalBytes, { kind: "logical" });
    metrics.savedBytes.add(moved.storedBytes, { kind: "stored" });
    metrics.refSeconds.observe((performance.now() - started) / 1000);
    return c.json(versionJson(moved), moved.version === 1 ? 201 : 200, { etag: etagOf(moved.version) });
  });

  /** `undefined` when the ref does not stand where the request says. */
  async function moveRef(name: string, body: Record<string, unknown>, rule: ParentRule) {
    const fields = {
      manifest: parseDigest(body["manifest"]).bytes,
      step: body["step"] as number | undefined,
      metrics: objectOf<number>(body["metrics"], "metrics"),
      metadata: objectOf<string>(body["metadata"], "metadata"),
    };
    if ("newest" in rule && registry.newest(name) === undefined) return undefined;
    if ("ref" in rule && rule.ref !== name) registry.require(rule.ref, rule.version);
    try {
      return await exchange.moveRef(name, fields, rule);
    } catch (error) {
      if (isStoreError(error, "ERR_CONFLICT")) return undefined;
      throw error;
    }
  }

  function preconditionFailed(c: Context, name: string): Response {
    exchange.refresh();
    const current = registry.newest(name);
    const message =
      current === undefined ? `there is no ref ${name}` : `${name} stands at version ${current.version}`;
    const error = { code: "ERR_CONFLICT", message, retryable: true, context: {} };
    const headers = current === undefined ? {} : { etag: etagOf(current.version) };
    return c.json({ error, current: current === undefined ? null : versionJson(current) }, 412, headers);
  }
}

/** `If-Match: "12"`, `If-Match: *` (whatever is the newest then), or `If-None-Match: *` (there is none yet). */
function ruleOf(c: Context, ref: string, parent: unknown): ParentRule {
  const match = c.req.header("if-match");
  const noneMatch = c.req.header("if-none-match");
  if (match === undefined && noneMatch === undefined) {
    const message =
      'say where the ref stands: If-Match: "VERSION", If-Match: *, or If-None-Match: * for a new one';
    throw new HttpFailure(428, "ERR_INVALID_ARGUMENT", message);
  }
  if (match !== undefined && noneMatch !== undefined) throw badRequest("both If-Match and If-None-Match");
  if (noneMatch !== undefined) {
    if (noneMatch !== "*") throw badRequest("If-None-Match other than *");
    // A branch begins at another ref's version.
    return parent === undefined ? { absent: true } : branchOf(parent);
  }
  if (match === "*") return { newest: true };
  const version = /^"(\d{1,15})"$/.exec(match!)?.[1];
  if (version === undefined) throw badRequest('If-Match is neither * nor "VERSION"');
  return { ref, version: Number(version) };
}

function branchOf(parent: unknown): ParentRule {
  const [, ref, version] = (typeof parent === "string" && /^([^@]+)@(\d{1,15})$/.exec(parent)) || [];
  if (ref === undefined) throw badRequest("parent is not REF@VERSION");
  return { ref, version: Number(version) };
}

function objectOf<T>(value: unknown, what: string): Record<string, T> {
  if (value === undefined) return {};
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw badRequest(`${what} is no object`);
  return value as Record<string, T>;
}

function etagOf(version: number): string {
  return `"${version}"`;
}

export function versionJson(record: VersionRecord) {
  return { ...record, manifest: hex(record.manifest), timeUs: record.timeUs.toString() };
}
