import type { Command } from "commander";
import { printable } from "../render/text.ts";
import type { Session } from "../session.ts";

/** `varve tag REF@V NAME`: an immutable name, which also keeps the version from being pruned. */
export function addTag(program: Command, session: Session): void {
  program
    .command("tag")
    .description("give a version a name that never moves; tagged versions are never pruned")
    .argument("<version>", "REF@12 or any other selector")
    .argument("<name>")
    .action(async (selector: string, name: string) => {
      const result = await session.withStore({}, (store) => store.checkpoints.tag(selector, name));
      session.done(
        result,
        () => `${printable(result.ref)}@${result.version} is tagged ${printable(result.tag)}\n`,
      );
    });
}
