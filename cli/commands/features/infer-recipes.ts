import type { Command } from "commander";
import { given, parseChoice } from "../../arguments.ts";
import type { InferredRecipe, Recipes } from "../../library.ts";
import { formatBytes, formatCount, formatRatio, plural } from "../../render/quantities.ts";
import type { Style } from "../../render/style.ts";
import { renderTable } from "../../render/table.ts";
import type { Session } from "../../session.ts";

interface InferFlags {
  format?: string;
  onError?: string;
}

/** `varve features infer-recipes FILE`: by which recipes computed columns follow from others. */
export function addInferRecipes(features: Command, session: Session): void {
  features
    .command("infer-recipes")
    .description("find recipes by which columns of a table file follow from others, and what each saves")
    .argument("<file>")
    .option("--on-error <what>", "a row with a bad cell: fail (default) or skip it")
    .option("--format <format>", "csv, ndjson, arrow or parquet (default: by the file)")
    .action(async (file: string, flags: InferFlags) => {
      const { inferFileRecipes } = await session.library();
      const found = await inferFileRecipes(file, { ...readOptions(flags), signal: session.signal });
      const { rows, columns, recipes, derive } = found;
      session.report({ rows, columns, recipes, derive }, () => {
        const looked = `${plural(recipes.length, "recipe")} in ${formatCount(rows)} rows of ${plural(columns, "column")}\n`;
        if (recipes.length === 0) return looked;
        return `${looked}${renderRecipes(recipes, session.style)}\n${renderDerive(derive)}\n`;
      });
    });
}

function renderRecipes(recipes: readonly InferredRecipe[], style: Style): string {
  return renderTable(
    recipes,
    [
      { title: "column", cell: ({ column }) => column },
      { title: "without", align: "right", cell: ({ plainBytes }) => formatBytes(plainBytes) },
      { title: "with", align: "right", cell: ({ derivedBytes }) => formatBytes(derivedBytes) },
      {
        title: "saves",
        align: "right",
        cell: ({ plainBytes, derivedBytes }) => formatRatio(plainBytes, derivedBytes),
      },
      { title: "recipe", cell: ({ recipe }) => JSON.stringify(recipe) },
    ],
    style,
  );
}

/** JSON to be pasted, a recipe a line, in ASCII: a column's name may hold anything. */
function renderDerive(derive: Recipes): string {
  const lines = Object.entries(derive).map(
    ([column, recipe]) => `  ${JSON.stringify(column)}: ${JSON.stringify(recipe)}`,
  );
  return `{\n${lines.map(inAscii).join(",\n")}\n}`;
}

function inAscii(json: string): string {
  return json.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function readOptions({ format, onError }: InferFlags) {
  return given({
    onError: onError === undefined ? undefined : parseChoice("--on-error", onError, ["fail", "skip"]),
    format:
      format === undefined
        ? undefined
        : parseChoice("--format", format, ["csv", "ndjson", "arrow", "parquet"]),
  });
}
