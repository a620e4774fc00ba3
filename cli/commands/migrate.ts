import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Command } from "commander";
import { EXIT, UsageError } from "../exit-codes.ts";
import type { MapOptions, MigrationPlan } from "../library.ts";
import { formatCount, plural } from "../render/quantities.ts";
import { renderTable } from "../render/table.ts";
import { printable } from "../render/text.ts";
import type { Session } from "../session.ts";

interface MigrateFlags {
  dryRun?: boolean;
  schemas?: string;
}

/** `varve migrate`: entries of older schema versions are rewritten in the newest. */
export function addMigrate(program: Command, session: Session): void {
  program
    .command("migrate")
    .description("rewrite critical entries of older schema versions in the newest")
    .option("--dry-run", "say what would change, trying every upgrade, and change nothing")
    .option(
      "--schemas <module>",
      "a JavaScript module whose default export is {map: {version, schema, upgrade}}; a running engine uses its own",
    )
    .action(async (flags: MigrateFlags) => {
      const dryRun = flags.dryRun === true;
      const schemas = flags.schemas === undefined ? undefined : await loadSchemas(flags.schemas);
      const options = {
        access: dryRun ? ("read" as const) : ("write" as const),
        prepare: (critical: { map(name: string, options: MapOptions<unknown>): unknown }) => {
          for (const [name, each] of Object.entries(schemas ?? {})) critical.map(name, each);
        },
      };
      const { plan, upgraded } = await session.withCritical(options, async (reached) => {
        if (reached.inEngine && schemas !== undefined) {
          session.warn(new UsageError("an engine has the store open: its schemas are used, not --schemas"));
        }
        const before = await reached.call("planMigration", {});
        const done = dryRun ? 0 : (await reached.call("migrate", {})).upgraded;
        return { plan: before, upgraded: done };
      });
      if (plan.some(({ failing }) => failing.length > 0)) session.exitCode = EXIT.failed;
      session.report({ dryRun, upgraded, maps: plan }, () => renderPlan(plan, { dryRun, upgraded }, session));
    });
}

async function loadSchemas(path: string): Promise<Record<string, MapOptions<unknown>>> {
  let module: { default?: unknown };
  try {
    module = (await import(pathToFileURL(resolve(path)).href)) as { default?: unknown };
  } catch (cause) {
    throw new UsageError(`--schemas ${path} does not load: ${(cause as Error).message}`);
  }
  if (typeof module.default !== "object" || module.default === null) {
    throw new UsageError(
      `--schemas ${path} has no default export`,
      "export default { positions: { version: 2, upgrade: (value, fromVersion) => … } }",
    );
  }
  return module.default as Record<string, MapOptions<unknown>>;
}

function renderPlan(
  plan: MigrationPlan[],
  { dryRun, upgraded }: { dryRun: boolean; upgraded: number },
  session: Session,
): string {
  if (plan.length === 0) return "no maps yet\n";
  const table = renderTable(
    plan,
    [
      { title: "map", cell: ({ map }) => map },
      { title: "version", align: "right", cell: ({ version }) => String(version) },
      { title: "entries", align: "right", cell: ({ entries }) => formatCount(entries) },
      { title: "older", align: "right", cell: ({ older }) => formatCount(older) },
      { title: "written with", cell: ({ byVersion }) => versionsOf(byVersion) },
    ],
    session.style,
  );
  const failing = plan.flatMap(({ map, failing: keys }) =>
    keys.map(({ key, problem }) => `cannot upgrade ${printable(`${map} ${key}: ${problem}`)}\n`),
  );
  const older = plan.reduce((sum, each) => sum + each.older, 0);
  const end = dryRun
    ? `${plural(older, "entry", "entries")} would be rewritten\n`
    : `${plural(upgraded, "entry", "entries")} rewritten\n`;
  return `${table}${failing.join("")}${end}`;
}

/** `1 (20 entries), 2`. */
function versionsOf(byVersion: Record<number, number>): string {
  return Object.entries(byVersion)
    .map(([version, entries]) => `version ${version}: ${formatCount(entries)}`)
    .join(", ");
}
