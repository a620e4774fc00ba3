import type { Command } from "commander";
import type { Session } from "../../session.ts";
import { addAsOf } from "./as-of.ts";
import { addExport } from "./export.ts";
import { addImport } from "./import.ts";
import { addList } from "./list.ts";
import { addRange } from "./range.ts";
import { addSeriesStats } from "./stats.ts";
import { addTail } from "./tail.ts";

/** `varve series …`: time series. */
export function addSeries(program: Command, session: Session): void {
  const series = program.command("series").description("import, read and export time series");
  for (const add of [addImport, addList, addSeriesStats, addTail, addRange, addAsOf, addExport]) {
    add(series, session);
  }
}
