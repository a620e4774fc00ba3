import type { Store } from "../open-store.ts";
import type { CommitOptions, Receipt } from "../src/critical/critical.ts";
import type { Transaction } from "../src/critical/transaction.ts";
import { badRequest, HttpFailure } from "./failure.ts";
import { readValue } from "./values.ts";

/** Changes in one request: what one transaction may have by far, and a short JSON. */
const CHANGES_MAX = 4096;

interface Change {
  kind: "put" | "delete" | "next" | "require";
  map: string;
  key: string;
  value: unknown;
  ifVersion: bigint | undefined;
  expiresAtUs: bigint | undefined;
}

/** What a change answers, as JSON can hold it: it is kept with the idempotency key. */
type Result = string | boolean | null;

/** One request's transaction, ready to be committed. */
export interface CommitRequest {
  fn(tx: Transaction): Result[];
  options: CommitOptions;
}

/** @throws HttpFailure 400 or 413 */
export function readCommit(
  { critical }: Store,
  body: Record<string, unknown>,
  idempotencyKey: string | undefined,
): CommitRequest {
  const changes = readChanges(body["changes"]);
  return {
    fn: (tx) => changes.map((change) => apply(critical, tx, change)),
    options: annotationsOf(body, idempotencyKey),
  };
}

export function commitAnswer({ lsn, timeUs, value }: Receipt<Result[]>): string {
  return JSON.stringify({ lsn: lsn.toString(), timeUs: timeUs.toString(), results: value });
}

function apply(
  critical: Store["critical"],
  tx: Transaction,
  { kind, map, key, value, ifVersion, expiresAtUs }: Change,
): Result {
  const condition = ifVersion === undefined ? {} : { ifVersion };
  switch (kind) {
    case "put":
      tx.put(critical.map(map), key, value, {
        ...condition,
        ...(expiresAtUs === undefined ? {} : { expiresAtUs }),
      });
      return null;
    case "delete":
      return tx.delete(critical.map(map), key, condition);
    case "next":
      return tx.next(critical.sequence(map)).toString();
    case "require":
      tx.require(
        tx.version(critical.map(map), key) === ifVersion,
        `${map} ${key} is not at version ${ifVersion}`,
      );
      return true;
  }
}

function annotationsOf(body: Record<string, unknown>, headerKey: string | undefined) {
  const options: { actor?: string; reason?: string; idempotencyKey?: string } = {};
  for (const name of ["actor", "reason", "idempotencyKey"] as const) {
    const value = body[name];
    if (value === undefined) continue;
    if (typeof value !== "string") throw badRequest(`${name} is no text`);
    options[name] = value;
  }
  if (headerKey !== undefined) options.idempotencyKey = headerKey;
  return options;
}

function readChanges(value: unknown): Change[] {
  if (!Array.isArray(value) || value.length === 0) throw badRequest("changes is no list, or an empty one");
  if (value.length > CHANGES_MAX) throw new HttpFailure(413, "ERR_LIMIT", `more than ${CHANGES_MAX} changes`);
  return value.map(readChange);
}

/** `{"put": {"map", "key", "value"}}`, `{"delete": …}`, `{"require": …}`, `{"next": "sequence"}`. */
function readChange(value: unknown): Change {
  const entries = typeof value === "object" && value !== null ? Object.entries(value) : [];
  const [kind, content] = entries.length === 1 ? entries[0]! : ["", undefined];
  const nothing = { key: "", value: undefined, ifVersion: undefined, expiresAtUs: undefined };
  if (kind === "next" && typeof content === "string") return { ...nothing, kind, map: content };
  if (
    (kind !== "put" && kind !== "delete" && kind !== "require") ||
    typeof content !== "object" ||
    content === null
  ) {
    throw badRequest("a change is one of put, delete, require and next");
  }
  const { map, key, value: given, ifVersion, expiresAtUs } = content as Record<string, unknown>;
  if (typeof map !== "string" || typeof key !== "string") throw badRequest(`${kind} needs a map and a key`);
  if (kind === "put" && given === undefined) throw badRequest("put needs a value");
  if (kind === "require" && ifVersion === undefined) throw badRequest("require needs ifVersion");
  return {
    kind,
    map,
    key,
    value: kind === "put" ? readValue(given) : undefined,
    ifVersion: bigintOf(ifVersion, "ifVersion"),
    expiresAtUs: bigintOf(expiresAtUs, "expiresAtUs"),
  };
}

function bigintOf(value: unknown, what: string): bigint | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "string" || !/^\d{1,19}$/.test(value))
    throw badRequest(`${what} is no decimal number in a text`);
  return BigInt(value);
}
