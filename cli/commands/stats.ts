import type { Command } from "commander";
import type { StoreStats } from "../library.ts";
import { formatBytes, formatCount, formatDuration, formatRatio } from "../render/quantities.ts";
import type { Style } from "../render/style.ts";
import { renderFields } from "../render/table.ts";
import type { Session } from "../session.ts";

/** `varve stats`: how much there is and what it takes. */
export function addStats(program: Command, session: Session): void {
  program
    .command("stats")
    .description("count refs, versions and bytes")
    .action(async () => {
      const stats = await session.withStore({ readOnly: true }, (store) => store.stats());
      session.report(stats, () => renderStats(stats, session.style));
    });
}

function renderStats(stats: StoreStats, style: Style): string {
  const fields = Object.entries(stats).flatMap(([name, value]) => fieldsOf(name, value));
  const ratio = formatRatio(stats.logicalBytes, stats.storedBytes);
  return renderFields([...fields, ["ratio", ratio]], style);
}

/** A figure by the unit that ends its name; a part with figures of its own gives several. */
function fieldsOf(name: string, value: unknown): [string, string][] {
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).flatMap(([part, inner]) => fieldsOf(`${name} ${part}`, inner));
  }
  if (typeof value !== "number") return [[name, String(value)]];
  if (name.endsWith("Bytes")) return [[words(name, "Bytes"), formatBytes(value)]];
  if (name.endsWith("Ms")) return [[words(name, "Ms"), formatDuration(value)]];
  return [[words(name, ""), formatCount(value)]];
}

/** `diskBytes` → `disk`, `openReaders` → `open readers`. */
function words(name: string, unit: string): string {
  return name.slice(0, name.length - unit.length).replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
