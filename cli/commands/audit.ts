import type { Command } from "commander";
import { given, parseWhole } from "../arguments.ts";
import { EXIT, UsageError } from "../exit-codes.ts";
import type { AuditChange, AuditEntry, AuditReport, LogQuery } from "../library.ts";
import { parseMoment } from "../moments.ts";
import { formatTime, plural } from "../render/quantities.ts";
import type { Style } from "../render/style.ts";
import { printable } from "../render/text.ts";
import type { Session } from "../session.ts";
import { renderValue, toJsonValue } from "../values.ts";

interface LogFlags {
  since?: string;
  map?: string;
  key?: string;
  limit?: string;
}

/** `varve audit …`: who changed what, and the proof that the trail is whole. */
export function addAudit(program: Command, session: Session): void {
  const audit = program.command("audit").description("read and prove the audit trail of critical state");
  audit
    .command("verify")
    .description("prove the trail whole, link by link, or name the first bad one")
    .option("--head <hex>", "prove too that it holds all that this head of an earlier proof stood for")
    .action(async ({ head }: { head?: string }) => {
      const report = await session.withCritical({ access: "read" }, (reached) =>
        reached.call("verifyAudit", given({ head })),
      );
      const isMissing = head !== undefined && report.headLsn === undefined;
      if (!report.whole || isMissing) session.exitCode = EXIT.corrupt;
      session.report(
        report,
        () =>
          renderReport(report, session.style) + (head === undefined ? "" : renderHead(report, session.style)),
      );
    });
  audit
    .command("log")
    .description("list the commits, each with its changes before and after")
    .option("--since <moment>", "from this LSN on, or after this time")
    .option("--map <name>", "only changes of this map")
    .option("--key <key>", "only changes of this key of the map")
    .option("--limit <n>", "at most so many commits")
    .action(async (flags: LogFlags) => {
      if (flags.key !== undefined && flags.map === undefined) throw new UsageError("--key needs --map");
      const limit =
        flags.limit === undefined ? Number.POSITIVE_INFINITY : parseWhole("--limit", flags.limit, 1);
      const since = flags.since === undefined ? undefined : parseMoment("--since", flags.since);
      const query = given({ since, map: flags.map, key: flags.key });
      const entries = await readLog(session, query, limit);
      session.report(entries.map(entryData), () =>
        entries.length === 0 ? "no commits\n" : entries.map(renderEntry).join(""),
      );
    });
}

function readLog(session: Session, query: LogQuery, limit: number): Promise<AuditEntry[]> {
  return session.withCritical({ access: "read" }, async (reached) => {
    const all: AuditEntry[] = [];
    let part = query;
    for (;;) {
      const { items, next } = await reached.call("log", part);
      all.push(...items.slice(0, limit - all.length));
      if (next === undefined || all.length >= limit) return all;
      part = { ...query, since: { lsn: next } };
    }
  });
}

function renderReport(
  { whole, firstLsn, lastLsn, links, head, firstBad }: AuditReport,
  style: Style,
): string {
  if (whole) {
    if (lastLsn < firstLsn) return `${style.green("the trail is whole")}: nothing is committed yet\n`;
    const end = links === 0 ? "" : `, ${plural(links, "link")}, head ${head}`;
    return `${style.green("the trail is whole")}: LSN ${firstLsn} to ${lastLsn}${end}\n`;
  }
  if (firstBad === undefined) return `${style.red("the trail is broken")}\n`;
  const { file, offset, firstLsn: from, lastLsn: to, problem } = firstBad;
  return (
    `${style.red("the trail is broken")} at LSN ${from} to ${to}: ${printable(problem)}\n` +
    `  ${printable(file)}, offset ${offset}; everything before it is proven\n`
  );
}

function renderHead({ headLsn, firstLsn }: AuditReport, style: Style): string {
  if (headLsn !== undefined)
    return `${style.green("the head is in it")}: all up to LSN ${headLsn} is as it was\n`;
  return (
    `${style.red("the head is not in it")}: the trail was rewritten, or is another one, ` +
    `or begins after it (its first LSN is ${firstLsn})\n`
  );
}

function entryData({ changes, cut, ...entry }: AuditEntry) {
  return {
    ...entry,
    ...(cut === undefined ? {} : { cut: { name: cut.name, body: toJsonValue(cut.body) } }),
    changes: changes.map(changeData),
  };
}

function changeData(change: AuditChange) {
  if (!("map" in change)) return change;
  const { before, after, ...rest } = change;
  return given({
    ...rest,
    before: before === undefined ? undefined : toJsonValue(before),
    after: after === undefined ? undefined : toJsonValue(after),
  });
}

function renderEntry(entry: AuditEntry): string {
  const { lsn, timeUs, actor, reason, basedOn, cut, changes } = entry;
  const by = actor === undefined ? "" : `  by ${printable(actor)}`;
  const why = reason === undefined ? "" : `  (${printable(reason)})`;
  const models =
    basedOn === undefined ? "" : `  based on ${basedOn.map((each) => each.slice(0, 12)).join(", ")}`;
  const lines = changes.map((change) => `    ${renderChange(change)}\n`);
  if (cut !== undefined) lines.push(`    cut ${printable(cut.name)}\n`);
  return `${lsn}  ${formatTime(timeUs)}${by}${why}${models}\n${lines.join("")}`;
}

function renderChange(change: AuditChange): string {
  if ("map" in change) {
    const show = (value: unknown) => (value === undefined ? "none" : renderValue(value));
    return `${printable(change.map)} ${printable(change.key)}: ${printable(`${show(change.before)} → ${show(change.after)}`)}`;
  }
  if ("sequence" in change) {
    return `sequence ${printable(change.sequence)}: ${change.before} → ${change.after}${change.adopted ? ", adopted" : ""}`;
  }
  const { fence } = change;
  return fence === undefined
    ? "the fence is lifted"
    : `fenced: ${printable(`${fence.kind}, ${fence.detail}`)}`;
}
