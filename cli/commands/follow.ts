import type { Command } from "commander";
import { given, parseWhole } from "../arguments.ts";
import { formatBytes } from "../render/quantities.ts";
import { printable } from "../render/text.ts";
import type { Session } from "../session.ts";

interface Flags {
  after?: number;
  count?: number;
}

/** `varve follow REF`: a line for each new version, as soon as it is durable, until it is interrupted. */
export function addFollow(program: Command, session: Session): void {
  program
    .command("follow")
    .description("print each new version of a ref as soon as it is durable, until interrupted")
    .argument("<ref>")
    .option("--after <version>", "begin after this version instead of after the newest", (text) =>
      parseWhole("--after", text),
    )
    .option("--count <n>", "end after so many versions", (text) => parseWhole("--count", text, 1))
    .action(async (ref: string, { after, count = Number.POSITIVE_INFINITY }: Flags) => {
      await session.withStore({ readOnly: true }, async (store) => {
        let left = count;
        const options = { ...given({ after }), signal: session.signal };
        for await (const version of store.checkpoints.follow(ref, options)) {
          const line = `${printable(ref)}@${version.version}  ${formatBytes(version.storedBytes)} stored\n`;
          session.report(version, () => line);
          left -= 1;
          if (left === 0) break;
        }
      });
      session.signal.throwIfAborted();
    });
}
