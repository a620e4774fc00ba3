import { dirname } from "node:path/posix";
import type { Random } from "./random.ts";
import { type CrashMode, SectorFile } from "./sectors.ts";

/** One change of a simulated disk: what a trace is made of. */
export type DiskEvent =
  | { kind: "write"; inode: number; bytes: Uint8Array; position: number; durable: boolean }
  | { kind: "sync"; inode: number; failed: boolean }
  | { kind: "truncate"; inode: number; sizeBytes: number }
  | { kind: "flip"; inode: number; bitOffset: number }
  | { kind: "create"; path: string; inode: number }
  | { kind: "makeDirectory"; path: string }
  | { kind: "rename"; from: string; to: string }
  | { kind: "remove"; path: string }
  | { kind: "syncDirectory"; path: string }
  | { kind: "mark"; value: unknown };

/** What a name stands for: a file's inode, or a directory. */
type Entry = number | "directory";

type NameEvent = Extract<DiskEvent, { kind: "create" | "makeDirectory" | "rename" | "remove" }>;

const MODES: readonly CrashMode[] = ["old", "new", "mixed", "mixed", "garbage", "garbage"];

/**
 * Everything a simulated device holds: names and file contents, each as seen now and as certain to be there after
 * a power cut. A file is found after a crash only under a name that was synced, or by luck.
 */
export class DiskImage {
  readonly files = new Map<number, SectorFile>();
  readonly names = new Map<string, Entry>([["/", "directory"]]);
  #durableNames = new Map<string, Entry>([["/", "directory"]]);
  #pending: NameEvent[] = [];

  clone(): DiskImage {
    const copy = new DiskImage();
    for (const [inode, file] of this.files) copy.files.set(inode, file.clone());
    for (const [path, entry] of this.names) copy.names.set(path, entry);
    copy.#durableNames = new Map(this.#durableNames);
    copy.#pending = this.#pending.slice();
    return copy;
  }

  apply(event: DiskEvent): void {
    switch (event.kind) {
      case "write":
        this.files.get(event.inode)!.write(event.bytes, event.position, event.durable);
        break;
      case "sync":
        if (event.failed) this.files.get(event.inode)!.failSync();
        else this.files.get(event.inode)!.sync();
        break;
      case "truncate":
        this.files.get(event.inode)!.truncate(event.sizeBytes);
        break;
      case "flip":
        this.files.get(event.inode)!.flip(event.bitOffset);
        break;
      case "create":
        this.files.set(event.inode, new SectorFile());
        this.#change(event);
        break;
      case "makeDirectory":
      case "rename":
      case "remove":
        this.#change(event);
        break;
      case "syncDirectory":
        this.#syncDirectory(event.path);
        break;
      case "mark":
        break;
    }
  }

  /**
   * The device as it is found after a power cut, perhaps with one more change in flight. Unsynced sectors are old,
   * new or garbage; unsynced names are applied or not, each rename whole.
   */
  crashed(random: Random, inFlight?: DiskEvent, mode: CrashMode = random.pick(MODES)): DiskImage {
    if (inFlight !== undefined) return this.#with(inFlight).crashed(random, undefined, mode);
    const image = new DiskImage();
    const names = new Map(this.#durableNames);
    const luck = mode === "old" ? 0 : mode === "new" ? 1 : random.below(5) / 4;
    for (const event of this.#pending) if (random.chance(luck)) applyName(names, event);
    for (const [path, entry] of names) {
      if (!reachable(names, path)) continue;
      image.names.set(path, entry);
      image.#durableNames.set(path, entry);
      if (entry !== "directory") image.files.set(entry, this.files.get(entry)!.crashed(random, mode));
    }
    return image;
  }

  /** The image with a change that is issued but not yet durable. */
  #with(event: DiskEvent): DiskImage {
    const copy = this.clone();
    if (event.kind === "write") copy.apply({ ...event, durable: false });
    else if (event.kind !== "sync" && event.kind !== "syncDirectory") copy.apply(event);
    return copy;
  }

  #change(event: NameEvent): void {
    applyName(this.names, event);
    this.#pending.push(event);
  }

  #syncDirectory(directory: string): void {
    const [synced, kept] = [[] as NameEvent[], [] as NameEvent[]];
    for (const event of this.#pending) {
      const touched = event.kind === "rename" ? [event.from, event.to] : [event.path];
      (touched.some((path) => dirname(path) === directory) ? synced : kept).push(event);
    }
    for (const event of synced) applyName(this.#durableNames, event);
    this.#pending = kept;
  }
}

function applyName(names: Map<string, Entry>, event: NameEvent): void {
  switch (event.kind) {
    case "create":
      names.set(event.path, event.inode);
      break;
    case "makeDirectory":
      names.set(event.path, "directory");
      break;
    case "remove":
      names.delete(event.path);
      break;
    case "rename": {
      const entry = names.get(event.from);
      if (entry === undefined) break;
      names.delete(event.from);
      names.set(event.to, entry);
    }
  }
}

function reachable(names: Map<string, Entry>, path: string): boolean {
  for (let at = path; at !== "/"; at = dirname(at)) if (names.get(dirname(at)) !== "directory") return false;
  return true;
}
