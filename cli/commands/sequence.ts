import type { Command } from "commander";
import { StoreError } from "../../src/errors.ts";
import { UsageError } from "../exit-codes.ts";
import type { SequenceInfo } from "../library.ts";
import { renderFields, renderTable } from "../render/table.ts";
import { printable } from "../render/text.ts";
import type { Session } from "../session.ts";
import { type ChangeFlags, commitOptionsOf, withChangeFlags } from "./critical.ts";

/** `varve sequence …`: nonces, order ids, session counters. */
export function addSequence(program: Command, session: Session): void {
  const sequence = program.command("sequence").description("read, use and take over sequences of numbers");
  sequence
    .command("ls")
    .description("list the sequences")
    .action(async () => {
      const all = await list(session);
      session.report(all, () =>
        all.length === 0
          ? "no sequences yet\n"
          : renderTable(
              all,
              [
                { title: "sequence", cell: ({ name }) => name },
                { title: "next", align: "right", cell: ({ next }) => String(next) },
                { title: "reserved to", align: "right", cell: ({ reservedTo }) => String(reservedTo) },
                { title: "state", cell: ({ fenced }) => (fenced ? "fenced" : "") },
              ],
              session.style,
            ),
      );
    });
  sequence
    .command("show")
    .description("show one sequence")
    .argument("<name>")
    .action(async (name: string) => {
      const all = await list(session);
      const found = all.find((each) => each.name === name);
      if (found === undefined) throw noSequence(name, all);
      session.report(found, () => renderSequence(found, session));
    });
  addNext(sequence, session);
  addAdopt(sequence, session);
}

function addNext(sequence: Command, session: Session): void {
  const command = sequence
    .command("next")
    .description("take the next number, durably; a new sequence begins with 1")
    .argument("<name>");
  withChangeFlags(command).action(async (name: string, flags: ChangeFlags) => {
    const commitOptions = commitOptionsOf(session, flags);
    const value = await session.withCritical({ access: "write", create: true, ...flags }, (reached) =>
      reached.call("next", { name, commitOptions }),
    );
    session.report({ name, value }, () => `${value}\n`);
  });
}

function addAdopt(sequence: Command, session: Session): void {
  sequence
    .command("adopt")
    .description("take over a fenced sequence, or confirm that the store was moved")
    .argument("[name]")
    .option(
      "--at-least <n>",
      "its next number is at least this: higher than any the original may have issued",
    )
    .option("--moved", "the store was moved, not copied: every sequence goes on where it was")
    .option("--mirror <dir>", "the log's mirror, if the store is kept with one and no engine runs")
    .option("--witness <file>", "the witness, likewise")
    .action(async (name: string | undefined, flags: ChangeFlags & { atLeast?: string; moved?: boolean }) => {
      if (flags.moved === true) return confirmMove(session, name, flags);
      if (name === undefined) throw new UsageError("name a sequence, or confirm a move with --moved");
      if (flags.atLeast === undefined || !/^\d+$/.test(flags.atLeast)) {
        throw new UsageError(
          `--at-least takes a whole number${flags.atLeast === undefined ? "" : `, not ${JSON.stringify(flags.atLeast)}`}`,
          "One that the exchange has not seen yet: its API or the original store's `sequence show` tells.",
        );
      }
      const atLeast = BigInt(flags.atLeast);
      const next = await session.withCritical({ access: "write", ...flags }, (reached) =>
        reached.call("adopt", { name, atLeast }),
      );
      session.done({ name, next }, () => `${printable(name)} is adopted, its next number is ${next}\n`);
    });
}

async function confirmMove(
  session: Session,
  name: string | undefined,
  flags: ChangeFlags & { atLeast?: string },
) {
  if (flags.atLeast !== undefined) throw new UsageError("--moved and --at-least exclude each other");
  const sequences = await session.withCritical({ access: "write", ...flags }, async (reached) => {
    await reached.call("adoptMoved", {});
    return reached.call("sequences", {});
  });
  // A move concerns the whole store; a name is taken as a check that the right store was meant.
  const shown = name === undefined ? sequences : sequences.filter((each) => each.name === name);
  if (name !== undefined && shown.length === 0) throw noSequence(name, sequences);
  session.done(shown, () => "the move is confirmed: every sequence goes on where it was\n");
}

function list(session: Session): Promise<SequenceInfo[]> {
  return session.withCritical({ access: "read" }, (reached) => reached.call("sequences", {}));
}

function renderSequence({ name, next, reservedTo, fenced }: SequenceInfo, session: Session): string {
  return renderFields(
    [
      ["sequence", name],
      ["next", String(next)],
      ["reserved to", String(reservedTo)],
      ["state", fenced ? "fenced: this store is a copy; varve sequence adopt" : "ready"],
    ],
    session.style,
  );
}

function noSequence(name: string, all: SequenceInfo[]): StoreError {
  const names = all.map((each) => each.name);
  return new StoreError("ERR_NOT_FOUND", `no sequence ${name}`, {
    context: { sequence: name, sequences: names },
    hint: names.length === 0 ? "There are none yet." : `There are: ${names.slice(0, 20).join(", ")}.`,
  });
}
