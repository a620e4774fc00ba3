import type { Command } from "commander";
import { isStoreError } from "../../src/errors.ts";
import { printable } from "../render/text.ts";
import type { Session } from "../session.ts";

/** `varve init`: creates the store; finding one there is fine. */
export function addInit(program: Command, session: Session): void {
  program
    .command("init")
    .description("create the store; nothing happens when there is one")
    .action(async () => {
      const created = await createUnlessThere(session);
      const store = session.storePath;
      session.done({ store, created }, () =>
        created ? `created a store in ${printable(store)}\n` : `there is a store in ${printable(store)}\n`,
      );
    });
}

async function createUnlessThere(session: Session): Promise<boolean> {
  try {
    await session.withStore({ readOnly: true }, () => undefined);
    return false;
  } catch (error) {
    if (!isStoreError(error, "ERR_NO_STORE")) throw error;
  }
  await session.withStore({ create: true }, () => undefined);
  return true;
}
