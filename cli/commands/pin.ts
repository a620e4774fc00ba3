import type { Command } from "commander";
import { formatBytes } from "../render/quantities.ts";
import { printable } from "../render/text.ts";
import type { Session } from "../session.ts";

/** `varve pin REF`: an image of the ref's newest version, so that programs map it instead of decoding it. */
export function addPin(program: Command, session: Session): void {
  program
    .command("pin")
    .description("keep a raw image of a ref's newest version, for programs that start from it")
    .argument("<ref>")
    .action(async (ref: string) => {
      // Somebody waits for it: as fast as the disk takes it, commits first.
      const options = { ioBudget: Number.POSITIVE_INFINITY };
      const result = await session.withStore(options, async (store) => {
        const pinned = await store.checkpoints.pin(ref);
        await Promise.all([pinned.imaged, pinned.verified]);
        const tensors = [...pinned.tensors.values()];
        const sizeBytes = tensors.reduce((sum, { data }) => sum + data.byteLength, 0);
        const written = pinned.source === "chunks";
        return { ref, version: pinned.version, tensors: tensors.length, sizeBytes, written };
      });
      session.done(
        result,
        () =>
          `${printable(ref)}@${result.version} ${result.written ? "is" : "was already"} pinned (${formatBytes(result.sizeBytes)})\n`,
      );
    });
}

/** `varve unpin REF`: keeps no image any more. */
export function addUnpin(program: Command, session: Session): void {
  program
    .command("unpin")
    .description("keep no image of a ref any more")
    .argument("<ref>")
    .action(async (ref: string) => {
      await session.withStore({}, (store) => store.checkpoints.unpin(ref));
      session.done({ ref }, () => `${printable(ref)} is not pinned\n`);
    });
}
