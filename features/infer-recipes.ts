import type { InferredRecipe } from "../src/series/columns/column-codec.ts";
import { type Recipes, SOURCE_SUFFIX, sourcesOf } from "../src/series/columns/recipe.ts";
import { type AnyTable, asTable } from "./any-table.ts";

export interface InferredRecipes {
  /** Each recipe found, in no order, with what its column takes without and with it. */
  recipes: InferredRecipe[];
  /** The same recipes by column: what `derive` of a series takes. */
  derive: Recipes;
}

/**
 * Finds recipes by which computed f64 columns of a table (averages, returns, z-scores, …) follow from its others, and
 * what each saves. Columns are looked at, not kept. Takes seconds for a wide table, on the calling thread.
 * @throws `ERR_FORMAT_ARROW` for types that have no place in a table, `ERR_INVALID_ARGUMENT`
 * @example const { derive } = await inferRecipes(table);
 */
export async function inferRecipes(table: AnyTable): Promise<InferredRecipes> {
  const { columns } = await asTable(table);
  const { loadColumnCodec } = await import("../src/series/columns/column-codec.ts");
  const codec = await loadColumnCodec();
  const recipes = worthKeeping(codec.inferRecipes(columns));
  return { recipes, derive: Object.fromEntries(recipes.map(({ column, recipe }) => [column, recipe])) };
}

/** A recipe that saves nothing stays only where it keeps a source that another one needs. */
function worthKeeping(found: readonly InferredRecipe[]): InferredRecipe[] {
  const needed = new Set(found.flatMap(({ recipe }) => sourcesOf(recipe)));
  return found.filter(
    ({ column, plainBytes, derivedBytes }) => derivedBytes < plainBytes || needed.has(column + SOURCE_SUFFIX),
  );
}
