import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { CONTROL_WORDS, drainJob, PIECES_LEFT } from "../../src/capture/drain.job.ts";
import { isStoreError } from "../../src/errors.ts";
import { createWorkerPool, type WorkerPool } from "../../src/workers/pool.ts";

let pool: WorkerPool;

afterEach(() => pool.close());

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A drain of nothing: the smallest job there is. */
const nothing = () => {
  const control = new Int32Array(new SharedArrayBuffer(CONTROL_WORDS * 4));
  control[PIECES_LEFT] = 0;
  return { table: new Float64Array(0), pieces: 0, parts: 0, control, buffers: [], slots: new Int32Array(0) };
};

describe("a job aside", () => {
  it("keeps no process from ending", async () => {
    pool = createWorkerPool(1);
    const child = join(import.meta.dirname, "aside.child.mjs");
    const { stdout } = await promisify(execFile)(process.execPath, [child]);
    expect(stdout).toBe("done\n");
  });
});

describe("preparing a pool", () => {
  it("starts one thread, a turn later, once, and only where none runs", async () => {
    pool = createWorkerPool(3);
    pool.prepare();
    pool.prepare();
    expect(pool.started, "not within the call").toBe(false);
    await turn();
    expect(pool.started).toBe(true);
    expect(await pool.broadcast(drainJob, nothing()), "the broadcast starts the others").toHaveLength(3);
    pool.prepare();
    await turn();
    expect(await pool.broadcast(drainJob, nothing())).toHaveLength(3);
  });

  it("leaves a job that comes first, or a close, alone", async () => {
    pool = createWorkerPool(1);
    pool.prepare();
    expect(await pool.run(drainJob, nothing())).toBeUndefined();
    await turn();
    expect(await pool.broadcast(drainJob, nothing())).toHaveLength(1);
    await pool.close();
    pool = createWorkerPool(2);
    pool.prepare();
    await pool.close();
    await turn();
    expect(pool.started, "no thread starts for a pool that is closed").toBe(false);
    const refused = await pool.run(drainJob, nothing()).catch((error: unknown) => error);
    expect(isStoreError(refused, "ERR_CLOSED")).toBe(true);
    pool.prepare();
    await turn();
    expect(pool.started).toBe(false);
  });
});
