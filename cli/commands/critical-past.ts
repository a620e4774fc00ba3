import type { Command } from "commander";
import { StoreError } from "../../src/errors.ts";
import { given } from "../arguments.ts";
import type { MapHistoryChange } from "../library.ts";
import { parseMoment } from "../moments.ts";
import { formatTime } from "../render/quantities.ts";
import { renderTable } from "../render/table.ts";
import type { Session } from "../session.ts";
import { renderValue, toJsonValue } from "../values.ts";
import { named, readAll } from "./critical-entries.ts";

/** `critical history` and `critical at`: what a map was. */
export function addCriticalPast(critical: Command, session: Session): void {
  critical
    .command("history")
    .description("list every kept change of a key")
    .argument("<map>")
    .argument("<key>")
    .action(async (map: string, key: string) => {
      const changes = await session.withCritical({ access: "read" }, async (reached) => {
        const all: MapHistoryChange<unknown>[] = [];
        for (let since: bigint | undefined = 0n; since !== undefined; ) {
          const page: { items: MapHistoryChange<unknown>[]; next: bigint | undefined } = await reached.call(
            "history",
            { map, key, since },
          );
          all.push(...page.items);
          since = page.next;
        }
        return all;
      });
      if (changes.length === 0) {
        throw new StoreError("ERR_NOT_FOUND", `there is no kept change of ${named(map, key)}`, {
          context: { map, key },
          hint: `varve critical ls ${map} lists the keys there are.`,
        });
      }
      session.report(changes.map(changeData), () => renderHistory(changes, session));
    });
  critical
    .command("at")
    .description("print a map, or one key of it, as it was after a commit or at a time")
    .argument("<moment>", "an LSN, a time like 2026-11-22T22:08:50Z, or microseconds since 1970")
    .argument("<map>")
    .argument("[key]")
    .action(async (text: string, map: string, key: string | undefined) => {
      const moment = parseMoment("MOMENT", text);
      if (key !== undefined) return printOne(session, { text, moment, map, key });
      const entries = await session.withCritical({ access: "read" }, (reached) =>
        readAll<[string, unknown]>({}, (range) => reached.call("at", { moment, map, range })),
      );
      session.report(
        entries.map(([name, value]) => ({ key: name, value: toJsonValue(value) })),
        () =>
          entries.length === 0
            ? "no entries\n"
            : renderTable(
                entries,
                [
                  { title: "key", cell: ([name]) => name },
                  { title: "value", cell: ([, value]) => renderValue(value) },
                ],
                session.style,
              ),
      );
    });
}

interface Wanted {
  text: string;
  moment: ReturnType<typeof parseMoment>;
  map: string;
  key: string;
}

async function printOne(session: Session, { text, moment, map, key }: Wanted): Promise<void> {
  const { lsn, value } = await session.withCritical({ access: "read" }, (reached) =>
    reached.call("getAt", { moment, map, key }),
  );
  if (value === undefined) {
    throw new StoreError("ERR_NOT_FOUND", `${named(map, key)} did not exist at ${text}`, {
      context: { map, key, moment: text },
      hint: `varve critical history ${map} ${key} lists its changes.`,
    });
  }
  session.report({ map, key, lsn, value: toJsonValue(value) }, () => `${renderValue(value)}\n`);
}

function changeData(change: MapHistoryChange<unknown>) {
  const { lsn, timeUs, actor, reason, before, after, expiresAtUs } = change;
  return given({
    lsn,
    timeUs,
    actor,
    reason,
    before: before === undefined ? undefined : toJsonValue(before),
    after: after === undefined ? undefined : toJsonValue(after),
    expiresAtUs,
  });
}

function renderHistory(changes: MapHistoryChange<unknown>[], session: Session): string {
  return renderTable(
    changes,
    [
      { title: "LSN", align: "right", cell: ({ lsn }) => String(lsn) },
      { title: "time", cell: ({ timeUs }) => formatTime(timeUs) },
      { title: "value", cell: ({ after }) => (after === undefined ? "(removed)" : renderValue(after)) },
      { title: "before", cell: ({ before }) => (before === undefined ? "" : renderValue(before)) },
      { title: "actor", cell: ({ actor }) => actor ?? "" },
      { title: "reason", cell: ({ reason }) => reason ?? "" },
    ],
    session.style,
  );
}
