import { readFileSync } from "node:fs";
import { join } from "node:path";
import { realDisk } from "../../src/disk/real-disk.ts";
import { SeriesStore } from "../../src/series/series-store.ts";
import { createInlinePool } from "../../src/workers/pool.ts";
import { inTemporaryDirectory, storeId, timeUs } from "./format-examples.ts";

/** Two sealed rows, then two hot ones: the first flushed, the second closed over. */
export function seriesExample(): Promise<Record<string, Uint8Array>> {
  return inTemporaryDirectory(async (directory) => {
    const store = new SeriesStore({
      disk: realDisk,
      directory,
      storeId,
      pool: createInlinePool(),
      readOnly: false,
      nowUs: () => timeUs,
    });
    const series = store.open("t", {
      columns: { ts: "ts_ms", px: "f64" },
      key: "ts",
      ring: { segmentRows: 2 },
    });
    series.append({ ts: 1000, px: 1.5 });
    series.append({ ts: 1010, px: 1.25 });
    await series.seal();
    series.append({ ts: 1020, px: 1.75 });
    await series.close();
    const file = (name: string) => readFileSync(join(directory, "t", name));
    return {
      segment: file("0000000000000000+2.seg"),
      hot: file("0000000000000002.hot"),
      "series-json": file("series.json"),
    };
  });
}
