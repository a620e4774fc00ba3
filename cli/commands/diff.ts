import type { Command } from "commander";
import type { TensorDiff } from "../library.ts";
import { formatCount, formatNumber, formatShape, plural } from "../render/quantities.ts";
import { type Column, renderTable } from "../render/table.ts";
import type { Session } from "../session.ts";

const fileColumn: Column<TensorDiff> = { title: "file", cell: ({ file }) => file };

const columns: Column<TensorDiff>[] = [
  { title: "tensor", cell: ({ name }) => name },
  { title: "status", cell: ({ status }) => status },
  { title: "dtype", cell: ({ dtype }) => dtype },
  { title: "shape", cell: ({ shape }) => formatShape(shape) },
  { title: "changed", align: "right", cell: changedShare },
  { title: "max |Δ|", align: "right", cell: ({ maxAbs }) => formatOptional(maxAbs) },
  { title: "mean |Δ|", align: "right", cell: ({ meanAbs }) => formatOptional(meanAbs) },
  { title: "norm A", align: "right", cell: ({ normA }) => formatOptional(normA) },
  { title: "norm B", align: "right", cell: ({ normB }) => formatOptional(normB) },
];

/** `varve diff A B`: what changed between two versions, tensor by tensor. */
export function addDiff(program: Command, session: Session): void {
  program
    .command("diff")
    .description("compare two versions, tensor by tensor")
    .argument("<a>", "REF[@SELECTOR]")
    .argument("<b>", "REF[@SELECTOR]")
    .option("--all", "also list the tensors that are the same")
    .action(async (a: string, b: string, flags: { all?: boolean }) => {
      const tensors = await session.withStore({ readOnly: true }, (store) =>
        session.running("comparing", (running) => store.checkpoints.diff(a, b, running)),
      );
      session.report(tensors, () => {
        const listed = flags.all === true ? tensors : tensors.filter(({ status }) => status !== "same");
        const several = new Set(tensors.map(({ file }) => file)).size > 1;
        const shown = several ? [fileColumn, ...columns] : columns;
        const table = listed.length === 0 ? "" : renderTable(listed, shown, session.style);
        return `${table}${summary(tensors)}\n`;
      });
    });
}

function changedShare({ status, changed, elements }: TensorDiff): string {
  if (status !== "changed" || changed === undefined || elements === 0) return "";
  return `${formatCount(changed)} (${formatNumber(Math.round((changed / elements) * 10_000) / 100)} %)`;
}

function formatOptional(value: number | undefined): string {
  return value === undefined ? "" : formatNumber(value);
}

/** `40 tensors: 2 changed, 38 same`. */
function summary(tensors: readonly TensorDiff[]): string {
  const statuses = ["changed", "added", "removed", "reshaped", "same"] as const;
  const counts = statuses
    .map((status) => ({ status, count: tensors.filter((tensor) => tensor.status === status).length }))
    .filter(({ count }) => count > 0)
    .map(({ status, count }) => `${formatCount(count)} ${status}`);
  const total = plural(tensors.length, "tensor");
  return counts.length === 0 ? total : `${total}: ${counts.join(", ")}`;
}
