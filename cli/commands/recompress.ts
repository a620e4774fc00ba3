import type { Command } from "commander";
import { given, parseWhole } from "../arguments.ts";
import type { RecompressResult } from "../library.ts";
import { formatBytes, plural } from "../render/quantities.ts";
import type { Session } from "../session.ts";

/** `varve recompress [REF]`: what the fast profile stored, in fewer bytes. */
export function addRecompress(program: Command, session: Session): void {
  program
    .command("recompress")
    .description("store older versions that were saved with --profile fast again in fewer bytes")
    .argument(
      "[ref]",
      "the versions of one ref (default: of all); the newest version of a ref is left as it is",
    )
    .option("--dry-run", "show what there is and change nothing")
    .option("--rate <bytes>", "bytes to read and write each second, on average (default: 10000000)")
    .action(async (ref: string | undefined, flags: { dryRun?: boolean; rate?: string }) => {
      const dryRun = flags.dryRun === true;
      const bytesPerSecond = flags.rate === undefined ? undefined : parseWhole("--rate", flags.rate, 1);
      await session.withStore({ readOnly: dryRun }, async (store) => {
        const result = await session.running("recompressing", (running) =>
          store.checkpoints.recompress({ ...given({ ref, bytesPerSecond }), ...running, dryRun }),
        );
        const report = { ...result, dryRun };
        if (dryRun) session.report(report, () => `${found(result)}\n`);
        else session.done(report, () => renderResult(result));
      });
    });
}

function found({ chunks, frameBytes }: RecompressResult): string {
  return `${plural(chunks, "chunk")} of the fast profile, ${formatBytes(frameBytes)}`;
}

function renderResult(result: RecompressResult): string {
  const { rewritten, deadBytes, writtenBytes } = result;
  const changed = `${rewritten} rewritten: ${formatBytes(deadBytes)} became ${formatBytes(writtenBytes)}`;
  return `${found(result)}; ${changed}; gc frees the rest\n`;
}
