import { createWriteStream } from "node:fs";
import { rename, rm, stat } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { StoreError } from "../src/errors.ts";

/**
 * Writes bytes to `path` as they come; the file takes its name when it is whole, so that a failure leaves what was
 * there. Resolves to its size.
 * @throws ERR_EXISTS when there is something at `path` and `force` is not set
 */
export async function writeOutputStream(
  path: string,
  bytes: AsyncIterable<Uint8Array>,
  force: boolean,
): Promise<number> {
  const there = await stat(path).catch(() => undefined);
  if (!force && there !== undefined) {
    throw new StoreError("ERR_EXISTS", `${path} exists already`, {
      context: { path },
      hint: "Pass --force to overwrite it.",
    });
  }
  const temporary = `${path}.${process.pid}.part`;
  try {
    await pipeline(
      Readable.from(bytes, { objectMode: false }),
      createWriteStream(temporary, { flush: true }),
    );
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  return (await stat(path)).size;
}
