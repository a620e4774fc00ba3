import { StoreError } from "../../errors.ts";
import { RECIPE_CHAIN_MAX } from "../../limits.ts";
import { columnOf, type Formula, formulaOf, type Recipes, SOURCE_SUFFIX } from "./recipe.ts";

/**
 * The formulas of recipes that fit a table, by column.
 * @throws StoreError ERR_INVALID_ARGUMENT naming the column, for what is no recipe, is over columns that are not there,
 *   over itself, or over more than `RECIPE_CHAIN_MAX` others in a row
 */
export function checkRecipes(recipes: Recipes, isFloat: (column: string) => boolean): Map<string, Formula> {
  const formulas = new Map(Object.entries(recipes).map(([name, recipe]) => [name, formulaOf(name, recipe)]));
  const chains = new Map<string, number>();
  for (const name of formulas.keys()) chainOf(name, { formulas, isFloat, chains, above: new Set() });
  return formulas;
}

interface Check {
  formulas: ReadonlyMap<string, Formula>;
  isFloat: (column: string) => boolean;
  /** How many recipes follow one from the other up to a column, where that is known. */
  chains: Map<string, number>;
  above: Set<string>;
}

function chainOf(name: string, check: Check): number {
  const { formulas, isFloat, chains, above } = check;
  const known = chains.get(name);
  if (known !== undefined) return known;
  const formula = formulas.get(name);
  if (formula === undefined) return 0;
  if (!isFloat(name)) throw refused(name, "makes no f64 column of this table");
  if (above.has(name)) throw refused(name, "leads back to itself");
  // The recursion ends here too: sources are followed no deeper than they may lie.
  if (above.size >= RECIPE_CHAIN_MAX) {
    throw refused(name, `is one of more than ${RECIPE_CHAIN_MAX} that follow one from the other`);
  }
  above.add(name);
  let chain = 0;
  for (const source of formula.sources) {
    const column = columnOf(source);
    if (!isFloat(column))
      throw refused(name, `needs column "${column}", which is no f64 column of this table`);
    const keeps = (formulas.get(column)?.digits ?? -1) >= 0;
    if (source.endsWith(SOURCE_SUFFIX) && !keeps) {
      throw refused(name, `needs the source of "${column}", which keeps none`);
    }
    chain = Math.max(chain, chainOf(column, check));
  }
  above.delete(name);
  if (chain + 1 > RECIPE_CHAIN_MAX) {
    throw refused(name, `is one of more than ${RECIPE_CHAIN_MAX} that follow one from the other`);
  }
  chains.set(name, chain + 1);
  return chain + 1;
}

/** The recipes that a table of fewer columns can have: none that needs what is not there. */
export function recipesWithin(recipes: Recipes, isFloat: (column: string) => boolean): Recipes {
  let left = Object.entries(recipes).filter(
    ([name, recipe]) =>
      isFloat(name) && formulaOf(name, recipe).sources.every((source) => isFloat(columnOf(source))),
  );
  for (let before = -1; before !== left.length; ) {
    before = left.length;
    const names = new Set(left.map(([name]) => name));
    left = left.filter(([name, recipe]) =>
      formulaOf(name, recipe).sources.every(
        (source) => !source.endsWith(SOURCE_SUFFIX) || names.has(columnOf(source)),
      ),
    );
  }
  return Object.fromEntries(left);
}

function refused(column: string, problem: string): StoreError {
  return new StoreError("ERR_INVALID_ARGUMENT", `recipe of column "${column}" ${problem}`, {
    context: { column },
    hint: "Recipes make f64 columns of other f64 columns of the same table.",
  });
}
