import type { Command } from "commander";
import { packageVersion } from "../package-version.ts";
import type { Session } from "../session.ts";

/** `varve version`: of varve and of Node.js. */
export function addVersion(program: Command, session: Session): void {
  program
    .command("version")
    .description("print the version of varve and of Node.js")
    .action(() => {
      const data = { version: packageVersion(), node: process.version };
      session.report(data, () => `varve ${data.version} on Node.js ${data.node}\n`);
    });
}
