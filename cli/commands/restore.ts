import type { Command } from "commander";
import { StoreError } from "../../src/errors.ts";
import { collect, given } from "../arguments.ts";
import type { RestoreResult, Store } from "../library.ts";
import { writeOutputFile } from "../output-file.ts";
import { formatBytes, formatDuration } from "../render/quantities.ts";
import { printable } from "../render/text.ts";
import type { Session } from "../session.ts";

interface RestoreFlags {
  out: string;
  file?: string;
  tensor?: string[];
  resume?: string;
  force?: boolean;
}

interface Restored extends RestoreResult {
  /** Where the version's resume blob was written, when asked for. */
  resume?: { path: string; sizeBytes: number };
}

/** `varve restore REF[@SELECTOR] --out PATH`: the saved files again, byte for byte. */
export function addRestore(program: Command, session: Session): void {
  program
    .command("restore")
    .description("write a version's files, byte for byte as they were saved")
    .argument("<version>", "REF, REF@12, REF@latest, REF@TAG, REF@step:600 or REF@best:METRIC[:max]")
    .requiredOption("--out <path>", "the file to write, or the directory when there are several")
    .option("--file <name>", "only this file of the version")
    .option("--tensor <name>", "only this tensor, as a safetensors file; may come several times", collect)
    .option("--resume <file>", "write the version's resume blob to this file")
    .option("--force", "overwrite what is there")
    .action(async (selector: string, flags: RestoreFlags) => {
      const result = await session.withStore({ readOnly: true }, (store) =>
        restore(session, store, selector, flags),
      );
      session.done(result, () => renderRestored(result));
    });
}

async function restore(
  session: Session,
  store: Store,
  selector: string,
  flags: RestoreFlags,
): Promise<Restored> {
  const { out, file, tensor: tensors, force } = flags;
  const options = { out, ...given({ file, tensors, force }) };
  const restoreFrom = (pinned: string) =>
    session.running("restoring", (running) =>
      store.checkpoints.restoreFiles(pinned, { ...options, ...running }),
    );
  if (flags.resume === undefined) return restoreFrom(selector);

  // The selector is looked up once: files and blob are of one version, whatever is saved meanwhile.
  const { ref, version } = await store.checkpoints.show(selector);
  const pinned = `${ref}@${version}`;
  const blob = await store.checkpoints.readResume(pinned);
  if (blob === undefined) {
    throw new StoreError("ERR_NOT_FOUND", `${pinned} was saved without a resume blob`, {
      context: { ref, version },
      hint: "Leave --resume out to restore its files alone.",
    });
  }
  const blobFile = await writeOutputFile(flags.resume, blob, force === true);
  try {
    const result = await restoreFrom(pinned);
    return { ...result, resume: { path: await blobFile.commit(), sizeBytes: blob.byteLength } };
  } catch (error) {
    await blobFile.discard();
    throw error;
  }
}

function renderRestored({ ref, version, files, bytes, durationMs, resume }: Restored): string {
  const lines = files.map(({ path, sizeBytes }) => `${printable(path)}  ${formatBytes(sizeBytes)}\n`);
  if (resume !== undefined) {
    lines.push(`${printable(resume.path)}  ${formatBytes(resume.sizeBytes)} (resume blob)\n`);
  }
  const from = `${printable(ref)}@${version}`;
  return `${lines.join("")}restored ${from}: ${formatBytes(bytes)} in ${formatDuration(durationMs)}\n`;
}
