import { readFile, stat } from "node:fs/promises";
import type { Command } from "commander";
import { StoreError } from "../../src/errors.ts";
import { RESUME_BYTES_MAX } from "../../src/limits.ts";
import { collect, given, parseChoice, parseMetadata, parseMetrics, parseWhole } from "../arguments.ts";
import type { SaveOptions } from "../library.ts";
import { formatBytes, formatDuration, formatRatio, plural } from "../render/quantities.ts";
import { printable } from "../render/text.ts";
import type { Session } from "../session.ts";

interface SaveFlags {
  step?: string;
  metric?: string[];
  meta?: string[];
  parent?: string;
  resume?: string;
  profile?: string;
}

/** `varve save REF PATH…`: one new version of one or many files. */
export function addSave(program: Command, session: Session): void {
  program
    .command("save")
    .description("save files (or all files of a directory) as the next version of a ref")
    .argument("<ref>", "the name the versions stand under")
    .argument("<path...>", "files or directories; together they are one version")
    .option("--step <n>", "training step (default: `step` of the file's own metadata)")
    .option("--metric <k=v>", "a measured number; may come several times", collect)
    .option("--meta <k=v>", "a piece of text; may come several times", collect)
    .option(
      "--parent <version>",
      "the version this one was trained from: 8, or REF@SELECTOR to begin a branch (default: the newest)",
    )
    .option("--resume <file>", "keep this file's bytes as the version's resume blob")
    .option("--profile <name>", "fast or compact")
    .action(async (ref: string, paths: string[], flags: SaveFlags) => {
      const options = await readOptions(flags);
      const result = await session.withStore({ create: true }, (store) =>
        session.running("saving", (running) =>
          store.checkpoints.saveFiles(ref, paths, { ...options, ...running }),
        ),
      );
      session.done(result, () => {
        const { version, files, tensors, logicalBytes, storedBytes, durationMs } = result;
        const what = `${plural(files, "file")}, ${plural(tensors, "tensor")}, ${formatBytes(logicalBytes)}`;
        const ratio = formatRatio(logicalBytes, storedBytes);
        const stored = `stored in ${formatBytes(storedBytes)} (${ratio})`;
        return `${printable(result.ref)}@${version}: ${what} ${stored} in ${formatDuration(durationMs)}\n`;
      });
    });
}

async function readOptions(flags: SaveFlags): Promise<SaveOptions> {
  const { step, metric, meta, parent, profile } = flags;
  const options = given({
    step: step === undefined ? undefined : parseWhole("--step", step),
    metrics: metric === undefined ? undefined : parseMetrics(metric),
    metadata: meta === undefined ? undefined : parseMetadata(meta),
    parent: parent === undefined ? undefined : parseParent(parent),
    profile: profile === undefined ? undefined : parseChoice("--profile", profile, ["fast", "compact"]),
  });
  return flags.resume === undefined ? options : { ...options, resume: await readResumeFile(flags.resume) };
}

/** A version of the ref itself, or `REF@SELECTOR` of another one, whose branch begins here. */
function parseParent(text: string): number | string {
  return text.includes("@") ? text : parseWhole("--parent", text, 1);
}

async function readResumeFile(path: string): Promise<Uint8Array> {
  const { size } = await stat(path);
  if (size > RESUME_BYTES_MAX) {
    throw new StoreError(
      "ERR_LIMIT",
      `${path} has ${formatBytes(size)}; a resume blob holds at most ${formatBytes(RESUME_BYTES_MAX)}`,
      {
        context: { path, sizeBytes: size, limit: RESUME_BYTES_MAX },
        hint: "Save large state as one of the version's files instead.",
      },
    );
  }
  return readFile(path);
}
