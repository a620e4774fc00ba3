import { Checkpoints } from "./checkpoints/checkpoints.ts";
import { StoreError } from "./src/errors.ts";
import { type Engine, type EngineOptions, openEngine } from "./src/store.ts";

export interface OpenStoreOptions extends EngineOptions {
  /** Told of a save that failed while nobody was watching its ticket. The next save fails with the same cause. */
  onError?: (error: unknown) => void;
}

export interface StoreStats {
  refs: number;
  versions: number;
  /** Bytes of all files of all versions, as if each were kept whole. */
  logicalBytes: number;
  /** What the versions appended when they were saved. */
  storedBytes: number;
  /** What the store's files take on the device now. */
  diskBytes: number;
  /** Part of `diskBytes`: the rebuildable index. */
  indexBytes: number;
  packs: number;
}

/** An open store. Close it, or declare it with `await using`. */
export class Store implements AsyncDisposable {
  readonly checkpoints: Checkpoints;
  readonly #engine: Engine;
  #closing: Promise<void> | undefined;

  constructor(engine: Engine, options: OpenStoreOptions) {
    this.#engine = engine;
    this.checkpoints = new Checkpoints(engine, { onError: options.onError });
  }

  get directory(): string {
    return this.#engine.directory;
  }

  /** 16 bytes, hexadecimal. */
  get id(): string {
    return Buffer.from(this.#engine.storeId).toString("hex");
  }

  /** Waits for saves in flight, then lets go of files, locks and threads. Closing twice is fine. */
  close(): Promise<void> {
    this.#closing ??= this.checkpoints.close().then(() => this.#engine.close());
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

export async function openStore(directory: string, options: OpenStoreOptions = {}): Promise<Store> {
  if (typeof directory !== "string" || directory === "") {
    throw new StoreError("ERR_INVALID_ARGUMENT", "openStore needs the path of a directory");
  }
  return new Store(await openEngine(directory, options), options);
}
