import { randomBytes } from "node:crypto";
import { link, open, rename, rm, stat } from "node:fs/promises";
import { StoreError } from "../src/errors.ts";

/** Bytes that are on disk beside their place, and take it or vanish. */
export interface OutputFile {
  /** Gives the file its name, all of it at once; resolves to the path. */
  commit(): Promise<string>;
  discard(): Promise<void>;
}

/**
 * Writes bytes beside `path`, synced, under a name of their own.
 *
 * @throws ERR_EXISTS when there is something at `path` and `force` is not set, at once and again at `commit`
 */
export async function writeOutputFile(path: string, bytes: Uint8Array, force: boolean): Promise<OutputFile> {
  if (!force && (await exists(path))) throw alreadyThere(path);
  const temporary = `${path}.${randomBytes(6).toString("hex")}.part`;
  const discard = () => rm(temporary, { force: true });
  const file = await open(temporary, "wx");
  try {
    await file.writeFile(bytes);
    await file.sync();
  } catch (error) {
    await discard();
    throw error;
  } finally {
    await file.close();
  }
  return {
    async commit() {
      try {
        if (force || !(await linkInto(temporary, path))) await rename(temporary, path);
      } finally {
        await discard();
      }
      return path;
    },
    discard,
  };
}

/** Unlike `rename`, `link` never replaces what came there in the meantime; some file systems do not have it. */
async function linkInto(temporary: string, path: string): Promise<boolean> {
  try {
    await link(temporary, path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") throw alreadyThere(path);
    if (code === "EPERM" || code === "ENOTSUP" || code === "ENOSYS") return false;
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return false;
      throw error;
    },
  );
}

function alreadyThere(path: string): StoreError {
  return new StoreError("ERR_EXISTS", `${path} exists already`, {
    context: { path },
    hint: "Pass --force to overwrite it.",
  });
}
