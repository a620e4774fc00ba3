import type { Disk, DiskFile } from "../disk/disk.ts";
import { isListed } from "../disk/listed.ts";
import { isStoreError, type StoreError } from "../errors.ts";
import { readHead, verifyRanges } from "./image-reader.ts";
import { IMAGE_SUFFIX } from "./images.ts";

export interface ImageProblem {
  path: string;
  what: string;
  offset: number;
}

/** Damaged images. Nothing is lost with one, but whoever maps it before it is verified computes with wrong weights. */
export async function checkImages(
  disk: Disk,
  options: { directory: string; storeId: Uint8Array; readData: boolean; signal?: AbortSignal | undefined },
): Promise<{ problems: ImageProblem[]; checkedBytes: number }> {
  const problems: ImageProblem[] = [];
  let checkedBytes = 0;
  for (const name of disk.list(options.directory)) {
    if (!name.endsWith(IMAGE_SUFFIX)) continue;
    options.signal?.throwIfAborted();
    const path = `${options.directory}/${name}`;
    if (disk.stat(path)?.isFile !== true) {
      // Not listed any more: removed meanwhile, as a newer one is there.
      if (isListed(disk, path)) problems.push({ path, what: NO_FILE, offset: 0 });
      continue;
    }
    try {
      checkedBytes += await checkImage(disk, path, options);
    } catch (error) {
      if (isStoreError(error, "ERR_STORE_CORRUPT")) problems.push(problemOf(path, error));
      // Removed meanwhile; or of a format that is written again.
      else if (!isStoreError(error, "ERR_NOT_FOUND") && !isStoreError(error, "ERR_STORE_VERSION"))
        throw error;
    }
  }
  return { problems, checkedBytes };
}

const NO_FILE = "an image that is no file, or a link to nowhere";

/** @throws `ERR_STORE_CORRUPT` */
async function checkImage(
  disk: Disk,
  path: string,
  { storeId, readData }: { storeId: Uint8Array; readData: boolean },
): Promise<number> {
  let file: DiskFile | undefined;
  try {
    file = disk.open(path, { access: "read" });
    // While it is looked at, nobody removes it.
    file.tryLock("shared");
    const head = readHead(file, storeId);
    if (readData) await verifyRanges(disk, path, head);
    return head.dataOffset + (readData ? head.dataBytes : 0);
  } finally {
    file?.close();
  }
}

function problemOf(path: string, { message, context }: StoreError): ImageProblem {
  const what = message.slice(message.indexOf("the image is damaged"));
  return { path, what, offset: Number(context.offset) };
}
