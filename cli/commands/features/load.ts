import type { Command } from "commander";
import { given } from "../../arguments.ts";
import { formatBytes, formatDuration, plural } from "../../render/quantities.ts";
import { renderTable } from "../../render/table.ts";
import { printable } from "../../render/text.ts";
import type { Session } from "../../session.ts";
import { parseSelection } from "./selector.ts";

interface LoadFlags {
  asOf?: string;
  columns?: string;
  expectFingerprint?: string;
}

/** `varve features load NAME[@VERSION]`: decodes a version whole and says what it holds. */
export function addLoad(features: Command, session: Session): void {
  features
    .command("load")
    .description("decode a version, check it, and say what it holds")
    .argument("<features>", "NAME or NAME@VERSION")
    .option("--as-of <instant>", "the version that was the newest known then")
    .option("--columns <names>", "only these, separated by commas")
    .option("--expect-fingerprint <hex>", "refuse a table of other columns, types or schema version")
    .action(async (text: string, flags: LoadFlags) => {
      const { name, ...selection } = parseSelection(text, flags.asOf);
      const options = given({
        ...selection,
        columns: flags.columns?.split(","),
        expectFingerprint: flags.expectFingerprint,
      });
      const loaded = await session.withStore({ readOnly: true }, async (store) => {
        const startMs = performance.now();
        const table = await store.features.load(name, options);
        const durationMs = Number((performance.now() - startMs).toFixed(3));
        const { version, fingerprint, asOfUs, rawBytes } = store.features.find(name, selection);
        const columns = table.schema.fields.map((field, at) => ({
          name: field.name,
          type: String(field.type),
          nulls: table.getChildAt(at)?.nullCount ?? 0,
        }));
        return { name, version, asOfUs, fingerprint, rows: table.numRows, rawBytes, durationMs, columns };
      });
      session.report(loaded, () => {
        const { version, rows, rawBytes, durationMs, columns } = loaded;
        const head = `${printable(name)}@${version}: ${plural(rows, "row")}, ${formatBytes(rawBytes)} in ${formatDuration(durationMs)}\n`;
        const titles = [
          { title: "column", cell: (column: (typeof columns)[number]) => column.name },
          { title: "type", cell: (column: (typeof columns)[number]) => column.type },
          {
            title: "nulls",
            align: "right" as const,
            cell: (column: (typeof columns)[number]) => (column.nulls > 0 ? String(column.nulls) : ""),
          },
        ];
        return head + renderTable(columns, titles, session.style);
      });
    });
}
