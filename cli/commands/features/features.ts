import type { Command } from "commander";
import type { Session } from "../../session.ts";
import { addExport } from "./export.ts";
import { addInferRecipes } from "./infer-recipes.ts";
import { addList } from "./list.ts";
import { addLoad } from "./load.ts";
import { addPublish } from "./publish.ts";

/** `varve features …`: feature tables. */
export function addFeatures(program: Command, session: Session): void {
  const features = program.command("features").description("publish, list, load and export feature tables");
  for (const add of [addPublish, addList, addLoad, addExport, addInferRecipes]) add(features, session);
}
