import type { Command } from "commander";
import { StoreError } from "../../src/errors.ts";
import { given, parseWhole } from "../arguments.ts";
import { UsageError } from "../exit-codes.ts";
import type { VersionedEntry } from "../library.ts";
import { parseFromNowUs, parseTimeUs } from "../moments.ts";
import { formatTime } from "../render/quantities.ts";
import { renderTable } from "../render/table.ts";
import type { Session } from "../session.ts";
import { parseValue, renderValue, toJsonValue } from "../values.ts";
import { named, readAll } from "./critical-entries.ts";
import { addCriticalPast } from "./critical-past.ts";

/** What `withChangeFlags` brings. */
export interface ChangeFlags {
  actor?: string;
  reason?: string;
  idempotencyKey?: string;
  mirror?: string;
  witness?: string;
}

interface EntryFlags extends ChangeFlags {
  ifVersion?: string;
}

interface PutFlags extends EntryFlags {
  expiresAt?: string;
  expiresIn?: string;
}

interface ListFlags {
  prefix?: string;
  from?: string;
  to?: string;
  limit?: string;
  reverse?: boolean;
}

/** `varve critical …`: the maps of critical state, in the engine that has them open or in the store at rest. */
export function addCritical(program: Command, session: Session): void {
  const critical = program
    .command("critical")
    .description("read and change critical state: positions, limits, balances…");
  addPut(critical, session);
  addGet(critical, session);
  addList(critical, session);
  addRemove(critical, session);
  addCriticalPast(critical, session);
}

/** Flags of a verb that changes something; the places matter only while no engine has the store open. */
export function withChangeFlags(command: Command): Command {
  return command
    .option("--actor <name>", "who does it, for the audit trail (default: the user's name)")
    .option("--reason <text>", "why, for the audit trail")
    .option(
      "--idempotency-key <key>",
      "a name for this very change: repeating it with the same key changes nothing and prints the first result",
    )
    .option("--mirror <dir>", "the log's mirror, if the store is kept with one and no engine runs")
    .option("--witness <file>", "the witness, likewise");
}

/** What the audit trail is told, and the key by which a repeated change is known. */
export function commitOptionsOf(session: Session, { actor, reason, idempotencyKey }: ChangeFlags) {
  const { USER, LOGNAME } = session.terminal.environment;
  return given({ actor: actor ?? (USER || LOGNAME || "varve"), reason, idempotencyKey });
}

function addPut(critical: Command, session: Session): void {
  const command = critical
    .command("put")
    .description("set a key of a map, durably")
    .argument("<map>")
    .argument("<key>")
    .argument("<json>", `the value; bigints as {"$bigint":"1"}, bytes as {"$bytes":"AQ=="}`)
    .option("--if-version <n>", "only if the entry has this version; 0: only if there is none")
    .option("--expires-at <time>", "the entry is gone from then on: 2026-11-22T22:08:50Z, or microseconds")
    .option("--expires-in <duration>", "the same from now: 30s, 15m, 24h, 7d");
  withChangeFlags(command).action(async (map: string, key: string, json: string, flags: PutFlags) => {
    const value = parseValue(json);
    const options = given({ ifVersion: versionOf(flags), expiresAtUs: expiryOf(flags) });
    const commitOptions = commitOptionsOf(session, flags);
    const { lsn } = await session.withCritical({ access: "write", create: true, ...flags }, (reached) =>
      reached.call("put", { map, key, value, options, commitOptions }),
    );
    session.done({ map, key, lsn }, () => `${named(map, key)} is durable, LSN ${lsn}\n`);
  });
}

function expiryOf({ expiresAt, expiresIn }: PutFlags): bigint | undefined {
  if (expiresAt !== undefined && expiresIn !== undefined) {
    throw new UsageError("--expires-at and --expires-in exclude each other");
  }
  if (expiresAt !== undefined) return parseTimeUs("--expires-at", expiresAt);
  return expiresIn === undefined ? undefined : parseFromNowUs("--expires-in", expiresIn);
}

function versionOf({ ifVersion }: EntryFlags): bigint | undefined {
  return ifVersion === undefined ? undefined : BigInt(parseWhole("--if-version", ifVersion));
}

function addGet(critical: Command, session: Session): void {
  critical
    .command("get")
    .description("print the value of a key")
    .argument("<map>")
    .argument("<key>")
    .action(async (map: string, key: string) => {
      const entry = await session.withCritical({ access: "read" }, async (reached) => {
        const found = await reached.call("get", { map, key });
        if (found === undefined) throw notFound(map, key, await mapNames(reached));
        return found;
      });
      session.report({ map, ...entryData(entry) }, () => `${renderValue(entry.value)}\n`);
    });
}

function addList(critical: Command, session: Session): void {
  critical
    .command("ls")
    .description("list a map's entries in key order; without a map, the maps")
    .argument("[map]")
    .option("--prefix <text>", "only keys that begin so")
    .option("--from <key>", "first key wanted")
    .option("--to <key>", "first key no longer wanted")
    .option("--limit <n>", "at most so many entries")
    .option("--reverse", "from the last key to the first")
    .action(async (map: string | undefined, flags: ListFlags) => {
      if (map === undefined) return listMaps(session);
      const { prefix, from, to, reverse } = flags;
      const limit = flags.limit === undefined ? undefined : parseWhole("--limit", flags.limit, 1);
      const range = given({ prefix, from, to, reverse, limit });
      const entries = await session.withCritical({ access: "read" }, async (reached) => {
        const found = await readAll(range, (part) => reached.call("list", { map, range: part }));
        if (found.length === 0) await requireMap(map, await mapNames(reached));
        return found;
      });
      session.report(entries.map(entryData), () =>
        entries.length === 0
          ? "no entries\n"
          : renderTable(
              entries,
              [
                { title: "key", cell: ({ key }) => key },
                { title: "value", cell: ({ value }) => renderValue(value) },
                { title: "version", align: "right", cell: ({ version }) => String(version) },
                {
                  title: "expires",
                  cell: ({ expiresAtUs }) => (expiresAtUs === undefined ? "" : formatTime(expiresAtUs)),
                },
              ],
              session.style,
            ),
      );
    });
}

async function listMaps(session: Session): Promise<void> {
  const { maps } = await session.withCritical({ access: "read" }, (reached) => reached.call("stats", {}));
  session.report(maps, () =>
    maps.length === 0
      ? "no maps yet\n"
      : renderTable(
          maps,
          [
            { title: "map", cell: ({ name }) => name },
            { title: "entries", align: "right", cell: ({ entries }) => String(entries) },
            { title: "schema version", align: "right", cell: ({ version }) => String(version) },
          ],
          session.style,
        ),
  );
}

function addRemove(critical: Command, session: Session): void {
  const command = critical
    .command("rm")
    .description("remove a key, durably; its history stays")
    .argument("<map>")
    .argument("<key>")
    .option("--if-version <n>", "only if the entry has this version");
  withChangeFlags(command).action(async (map: string, key: string, flags: EntryFlags) => {
    const ifVersion = versionOf(flags);
    const commitOptions = commitOptionsOf(session, flags);
    const { lsn } = await session.withCritical({ access: "write", ...flags }, async (reached) => {
      const done = await reached.call("remove", given({ map, key, ifVersion, commitOptions }));
      if (!done.removed) throw notFound(map, key, await mapNames(reached));
      return done;
    });
    session.done({ map, key, lsn }, () => `removed ${named(map, key)}, LSN ${lsn}\n`);
  });
}

function entryData({ key, value, version, expiresAtUs }: VersionedEntry<unknown>) {
  return given({ key, value: toJsonValue(value), version, expiresAtUs });
}

type Reached = Parameters<Parameters<Session["withCritical"]>[1]>[0];

async function mapNames(reached: Reached): Promise<string[]> {
  return (await reached.call("stats", {})).maps.map(({ name }) => name);
}

function requireMap(map: string, maps: string[]): void {
  if (!maps.includes(map)) throw noMap(map, maps);
}

function noMap(map: string, maps: string[]): StoreError {
  const hint = maps.length === 0 ? "There are no maps yet." : `There are: ${maps.slice(0, 20).join(", ")}.`;
  return new StoreError("ERR_NOT_FOUND", `no map ${map}`, { context: { map, maps }, hint });
}

export function notFound(map: string, key: string, maps: string[]): StoreError {
  if (!maps.includes(map)) return noMap(map, maps);
  return new StoreError("ERR_NOT_FOUND", `map ${map} has no key ${key}`, {
    context: { map, key },
    hint: `varve critical ls ${map} lists its keys, varve critical history ${map} ${key} what it was.`,
  });
}
