import type { Command } from "commander";
import type { VersionDetails, VersionEncodings } from "../library.ts";
import {
  formatBytes,
  formatCount,
  formatNumber,
  formatRatio,
  formatShape,
  formatTime,
} from "../render/quantities.ts";
import type { Style } from "../render/style.ts";
import { renderFields, renderTable } from "../render/table.ts";
import { printable } from "../render/text.ts";
import type { Session } from "../session.ts";

/** `varve show REF[@V]`: one version in full, down to its tensors. */
export function addShow(program: Command, session: Session): void {
  program
    .command("show")
    .description("show one version: its metadata, files and tensors")
    .argument("<version>", "REF, REF@12, REF@latest, REF@TAG, REF@step:600 or REF@best:METRIC[:max]")
    .option("--encodings", "show how it is stored: bytes by tensor and encoding")
    .action(async (selector: string, flags: { encodings?: boolean }) => {
      if (flags.encodings === true) {
        const encodings = await session.withStore({ readOnly: true }, (store) =>
          store.checkpoints.encodings(selector),
        );
        session.report(encodings, () => renderEncodings(encodings, session.style));
        return;
      }
      const version = await session.withStore({ readOnly: true }, (store) =>
        store.checkpoints.show(selector),
      );
      session.report(version, () => renderVersion(version, session.style));
    });
}

function renderVersion(version: VersionDetails, style: Style): string {
  const { logicalBytes, storedBytes } = version;
  const head = renderFields(
    [
      ["version", `${version.ref}@${version.version}`],
      ["parent", version.parent === undefined ? "" : `${version.parent.ref}@${version.parent.version}`],
      ["tags", version.tags.join(", ")],
      ["step", version.step === undefined ? "" : formatCount(version.step)],
      ["saved", formatTime(version.timeUs)],
      ["state", version.damaged ? "damaged: parts of it are lost" : ""],
      ["manifest", version.manifest],
      ["logical", formatBytes(logicalBytes)],
      ["stored", `${formatBytes(storedBytes)} (${formatRatio(logicalBytes, storedBytes)})`],
      ["new chunks", formatCount(version.newChunks)],
      ["resume blob", version.hasResume ? "yes" : "no"],
      ...Object.entries(version.metrics).map(
        ([key, value]) => [`metric ${key}`, formatNumber(value)] as const,
      ),
      ...Object.entries(version.metadata).map(([key, value]) => [`meta ${key}`, value] as const),
    ],
    style,
  );
  return head + version.fileList.map((file) => renderFile(file, style)).join("");
}

function renderEncodings({ total, files }: VersionEncodings, style: Style): string {
  const summary = renderTable(
    total,
    [
      { title: "encoding", cell: ({ encoding }) => encoding },
      { title: "chunks", align: "right", cell: ({ chunks }) => formatCount(chunks) },
      { title: "raw", align: "right", cell: ({ rawBytes }) => formatBytes(rawBytes) },
      { title: "stored", align: "right", cell: ({ storedBytes }) => formatBytes(storedBytes) },
      { title: "ratio", align: "right", cell: (use) => formatRatio(use.rawBytes, use.storedBytes) },
    ],
    style,
  );
  return summary + files.map((file) => renderStoredFile(file, style)).join("");
}

function renderStoredFile(file: VersionEncodings["files"][number], style: Style): string {
  const title = `\n${style.bold(printable(file.name))}  ${formatBytes(file.storedBytes)} stored\n`;
  const rows = [
    ...file.tensors.flatMap(({ name, dtype, encodings }) => encodings.map((use) => ({ name, dtype, use }))),
    ...file.skeleton.map((use) => ({ name: "(no tensor)", dtype: "", use })),
  ];
  if (rows.length === 0) return title;
  const table = renderTable(
    rows,
    [
      { title: "tensor", cell: ({ name }) => name },
      { title: "dtype", cell: ({ dtype }) => dtype },
      { title: "encoding", cell: ({ use }) => use.encoding },
      { title: "raw", align: "right", cell: ({ use }) => formatBytes(use.rawBytes) },
      { title: "stored", align: "right", cell: ({ use }) => formatBytes(use.storedBytes) },
      { title: "ratio", align: "right", cell: ({ use }) => formatRatio(use.rawBytes, use.storedBytes) },
    ],
    style,
  );
  return title + table;
}

function renderFile(file: VersionDetails["fileList"][number], style: Style): string {
  const title = `\n${style.bold(printable(file.name))}  ${file.format}, ${formatBytes(file.sizeBytes)}\n`;
  if (file.tensors.length === 0) return title;
  const table = renderTable(
    file.tensors,
    [
      { title: "tensor", cell: ({ name }) => name },
      { title: "dtype", cell: ({ dtype }) => dtype },
      { title: "shape", cell: ({ shape }) => formatShape(shape) },
      { title: "size", align: "right", cell: ({ sizeBytes }) => formatBytes(sizeBytes) },
    ],
    style,
  );
  return title + table;
}
