import type { Command } from "commander";
import { UsageError } from "../../exit-codes.ts";
import { formatTime } from "../../render/quantities.ts";
import { renderTable } from "../../render/table.ts";
import { printable } from "../../render/text.ts";
import type { Session } from "../../session.ts";

/** `varve state …`: strategies' own state. */
export function addState(program: Command, session: Session): void {
  const state = program.command("state").description("put, get and look back at strategies' state");
  for (const add of [addPut, addGet, addList, addHistory]) add(state, session);
}

/** `varve state put MAP KEY JSON`. */
function addPut(state: Command, session: Session): void {
  state
    .command("put")
    .description("set a key to a value; durable when it returns")
    .argument("<map>")
    .argument("<key>")
    .argument("<json>", "the value as JSON")
    .action(async (map: string, key: string, text: string) => {
      const value = parseJson(text);
      const seq = await session.withStore({ create: true }, async (store) => {
        const opened = store.state.map(map);
        opened.put(key, value);
        await opened.flush();
        return opened.seq;
      });
      session.done({ map, key, seq }, () => `${printable(map)}: ${printable(key)} set, update ${seq}\n`);
    });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new UsageError(`${JSON.stringify(text)} is no JSON`, "A text is in quotes: '\"long\"'.");
  }
}

/** `varve state get MAP KEY`. */
function addGet(state: Command, session: Session): void {
  state
    .command("get")
    .description("print a key's value as JSON")
    .argument("<map>")
    .argument("<key>")
    .action(async (map: string, key: string) => {
      const found = await session.withStore({ readOnly: true }, (store) => {
        const opened = store.state.map(store.state.requireName(map));
        return { value: opened.get(key), known: opened.has(key) };
      });
      if (!found.known) throw await notFound(session, map, key);
      session.report({ map, key, value: found.value }, () => `${asJson(found.value)}\n`);
    });
}

async function notFound(session: Session, map: string, key: string): Promise<Error> {
  const { StoreError } = await session.library();
  return new StoreError("ERR_NOT_FOUND", `state map ${map} has no key ${JSON.stringify(key)}`, {
    context: { map, key },
    hint: "`varve state ls MAP` lists its keys; `varve state history MAP KEY` what it was.",
  });
}

/** One line; a bigint, which JSON has not, as its digits. */
function asJson(value: unknown): string {
  return (
    JSON.stringify(value, (_key, item: unknown) => (typeof item === "bigint" ? item.toString() : item)) ??
    "null"
  );
}

/** `varve state ls [MAP]`. */
function addList(state: Command, session: Session): void {
  state
    .command("ls")
    .description("list the maps, or the keys and values of one")
    .argument("[map]")
    .action(async (map: string | undefined) => {
      if (map === undefined) {
        const maps = await session.withStore({ readOnly: true }, (store) =>
          store.state.names().map((name) => {
            const { size, seq } = store.state.map(name);
            return { map: name, keys: size, seq };
          }),
        );
        const columns = [
          { title: "map", cell: (row: (typeof maps)[number]) => row.map },
          { title: "keys", align: "right" as const, cell: (row: (typeof maps)[number]) => String(row.keys) },
          {
            title: "updates",
            align: "right" as const,
            cell: (row: (typeof maps)[number]) => String(row.seq),
          },
        ];
        return session.report(maps, () => renderTable(maps, columns, session.style));
      }
      const entries = await session.withStore({ readOnly: true }, (store) =>
        store.state
          .map(store.state.requireName(map))
          .entries()
          .map(([key, value]) => ({ key, value })),
      );
      const columns = [
        { title: "key", cell: (row: (typeof entries)[number]) => row.key },
        { title: "value", cell: (row: (typeof entries)[number]) => asJson(row.value) },
      ];
      session.report(entries, () => renderTable(entries, columns, session.style));
    });
}

/** `varve state history MAP KEY`. */
function addHistory(state: Command, session: Session): void {
  state
    .command("history")
    .description("list the values a key has had, oldest first")
    .argument("<map>")
    .argument("<key>")
    .action(async (map: string, key: string) => {
      const history = await session.withStore({ readOnly: true }, (store) =>
        store.state.map(store.state.requireName(map)).history(key),
      );
      if (history.length === 0) throw await notFound(session, map, key);
      const shown = history.map(({ seq, timeUs, value }) => ({
        seq,
        timeUs,
        removed: value === undefined,
        value,
      }));
      const columns = [
        { title: "update", align: "right" as const, cell: (row: (typeof shown)[number]) => String(row.seq) },
        { title: "time", cell: (row: (typeof shown)[number]) => formatTime(row.timeUs) },
        {
          title: "value",
          cell: (row: (typeof shown)[number]) => (row.removed ? "(removed)" : asJson(row.value)),
        },
      ];
      session.report(shown, () => renderTable(shown, columns, session.style));
    });
}
