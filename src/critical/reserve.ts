import type { Disk } from "../disk/disk.ts";
import { makeDurableDirectory } from "../disk/durable-directory.ts";
import { preallocate } from "../disk/preallocate.ts";
import { isStoreError, StoreError } from "../errors.ts";
import { RESERVE_BYTES_MAX } from "../limits.ts";
import { FILE_BYTES_TARGET } from "./history-format.ts";

/** What a piece of reserved space is for: files of history, or a snapshot that has outgrown its slot. */
export type ReservedFor = "history" | "snapshot";

export interface ReserveStats {
  /** Bytes held ready, and how many there should be. */
  readyBytes: number;
  wantedBytes: number;
  /** The disk was full when space was last asked for: what is reserved is being used up. */
  diskFull: boolean;
  /** Bytes a write may still take on the file system, where it tells. */
  freeBytes: number | undefined;
}

interface Piece {
  name: string;
  use: ReservedFor;
  sizeBytes: number;
}

/** History written while the disk is full: two files take some hundred thousand commits. */
const HISTORY_PIECES = 2;
/** One for each slot. */
const SNAPSHOT_PIECES = 2;
const SNAPSHOT_BYTES_MIN = 1 << 20;
/** Not at once: a command that opens the store for one commit needs no reserve. */
const FIRST_AFTER_MS = 2000;

/**
 * Space that critical state has to itself: files of zeros which take the name of a history file or a snapshot slot
 * when the disk is full. Together with the log, which runs in a ring of segments made ahead, they let the engine go
 * on after something else has filled the disk. Renaming hands the space over: nobody else can take it in between.
 */
export class Reserve {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #tell: (message: string, error: unknown) => void;
  readonly #limitBytes: number;
  #snapshotBytes = SNAPSHOT_BYTES_MIN;
  #ready: Piece[] = [];
  #diskFull = false;
  #work: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  /** @param limitBytes 0: nothing is reserved */
  constructor(
    place: { disk: Disk; directory: string },
    limitBytes: number,
    tell: (message: string, error: unknown) => void,
  ) {
    this.#disk = place.disk;
    this.#directory = `${place.directory}/reserve`;
    this.#limitBytes = Math.min(limitBytes, RESERVE_BYTES_MAX);
    this.#tell = tell;
    this.#ready = this.#found();
    if (this.#limitBytes === 0) return;
    this.#timer = setTimeout(() => this.refill(), FIRST_AFTER_MS);
    this.#timer.unref();
  }

  /** The disk was full when space was last asked for. */
  get isDiskFull(): boolean {
    return this.#diskFull;
  }

  /** Gives a piece the name `path`, durably, in the place of what was there. `false`: there is none to give. */
  give(use: ReservedFor, path: string, neededBytes = 0): boolean {
    this.#diskFull = true;
    const index = this.#ready.findIndex((piece) => piece.use === use && piece.sizeBytes >= neededBytes);
    const left = this.#ready.reduce((sum, piece) => sum + piece.sizeBytes, 0);
    this.#tell(
      index < 0
        ? `the disk is full and no reserved space is left for ${use}: commits go on only as long as the log has room`
        : `the disk is full: critical state goes on in reserved space (${left >> 20} MiB left); free some now`,
      new StoreError("ERR_DISK_FULL", `no space left for ${path}`, {
        context: { path, reservedBytes: left },
        retryable: true,
        hint: "Remove something, or move what fills the disk elsewhere; the reserve is made up again by itself.",
      }),
    );
    if (index < 0) return false;
    const [piece] = this.#ready.splice(index, 1);
    this.#disk.rename(`${this.#directory}/${piece!.name}`, path);
    this.#disk.syncDirectory(path.slice(0, path.lastIndexOf("/")));
    this.#disk.syncDirectory(this.#directory);
    return true;
  }

  /** Makes up what is missing, off the caller's thread; a disk that is still full is tried again next time. */
  refill(snapshotBytes = 0): void {
    if (this.#limitBytes === 0 || this.#closed) return;
    this.#snapshotBytes = Math.max(this.#snapshotBytes, 2 * snapshotBytes);
    this.#work = this.#work.then(() => this.#fill());
  }

  async #fill(): Promise<void> {
    try {
      for (const piece of this.#missing()) {
        if (this.#closed) return;
        makeDurableDirectory(this.#disk, this.#directory);
        await preallocate(this.#disk, `${this.#directory}/${piece.name}`, piece.sizeBytes);
        this.#disk.syncDirectory(this.#directory);
        this.#ready.push(piece);
      }
      this.#diskFull = false;
    } catch (error) {
      if (!isStoreError(error)) throw error;
      if (!this.#diskFull) this.#tell("there is no space to reserve for critical state", error);
      this.#diskFull = true;
    }
  }

  #wanted(): Piece[] {
    const pieces = (use: ReservedFor, count: number, sizeBytes: number) =>
      Array.from({ length: count }, (_, index): Piece => {
        return { name: `${use}-${index}.space`, use, sizeBytes };
      });
    const snapshots = pieces("snapshot", SNAPSHOT_PIECES, this.#snapshotBytes);
    const history = pieces("history", HISTORY_PIECES, FILE_BYTES_TARGET);
    let left = this.#limitBytes;
    return [...snapshots, ...history].filter(({ sizeBytes }) => {
      if (sizeBytes > left) return false;
      left -= sizeBytes;
      return true;
    });
  }

  #missing(): Piece[] {
    const isReady = ({ name, sizeBytes }: Piece) =>
      this.#ready.some((piece) => piece.name === name && piece.sizeBytes >= sizeBytes);
    const missing = this.#wanted().filter((piece) => !isReady(piece));
    this.#ready = this.#ready.filter(({ name }) => !missing.some((piece) => piece.name === name));
    return missing;
  }

  /** What an earlier opening left; a piece that was cut short is made again. */
  #found(): Piece[] {
    return this.#disk.list(this.#directory).flatMap((name): Piece[] => {
      const use = /^(history|snapshot)-\d\.space$/.exec(name)?.[1] as ReservedFor | undefined;
      const sizeBytes = this.#disk.stat(`${this.#directory}/${name}`)?.sizeBytes ?? 0;
      return use === undefined ? [] : [{ name, use, sizeBytes }];
    });
  }

  stats(): ReserveStats {
    const sum = (pieces: Piece[]) => pieces.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
    return {
      readyBytes: sum(this.#ready),
      wantedBytes: sum(this.#wanted()),
      diskFull: this.#diskFull,
      freeBytes: this.#disk.freeBytes(this.#directory.slice(0, this.#directory.lastIndexOf("/"))),
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#work;
  }
}
