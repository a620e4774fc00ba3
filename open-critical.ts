import { join, resolve } from "node:path";
import { wallClockUs } from "./src/clock.ts";
import { createStore } from "./src/create-store.ts";
import { Critical, type CriticalOptions } from "./src/critical/critical.ts";
import { EngineClient } from "./src/critical/socket.ts";
import { type Verb, type VerbArgs, type VerbResult, verbsOf } from "./src/critical/verbs.ts";
import type { Disk } from "./src/disk/disk.ts";
import { findWriter } from "./src/disk/lock.ts";
import { realDisk } from "./src/disk/real-disk.ts";
import { isStoreError, StoreError } from "./src/errors.ts";
import { AMOUNT, CALLBACK, checkOptions, FLAG, OBJECT, RATE, TEXT, whole } from "./src/options.ts";
import { readStoreFile } from "./src/store-file.ts";
import { lockStore } from "./src/store-lock.ts";
import { inspectLog, type LogInspection } from "./src/wal/inspect.ts";

/** Where a store's critical partition lies within it. */
export const CRITICAL_DIRECTORY = "critical";

/** How the critical partition of a store is kept; all of it may be left out. */
export interface CriticalStoreOptions
  extends Pick<
    CriticalOptions,
    "idempotency" | "snapshots" | "history" | "reserveBytes" | "socket" | "machineId" | "clock"
  > {
  /** The log's segment size, way of writing and seal. */
  log?: Omit<NonNullable<CriticalOptions["log"]>, "mirror">;
  /** A directory on a second device that holds the same log: a commit is acknowledged after both have it. */
  mirror?: string | undefined;
  /** A file on another device that holds the highest number of every sequence: it catches content put back. */
  witness?: string | undefined;
}

export interface CriticalPlace {
  disk: Disk;
  /** The store's directory. */
  directory: string;
  storeId: Uint8Array;
  readOnly?: boolean;
}

/**
 * Opens the critical partition of a store. For writing it takes the writer's lock: one process at a time.
 *
 * @throws ERR_INVALID_ARGUMENT naming a wrong option, ERR_STORE_LOCKED with the holder's pid, ERR_STORE_CORRUPT, ERR_STORE_VERSION
 */
export function openCritical(
  { disk, directory, storeId, readOnly = false }: CriticalPlace,
  options: CriticalStoreOptions = {},
  onWarning: CriticalOptions["onWarning"] = warnProcess,
): Critical {
  checkCriticalOptions(options);
  const { mirror, witness, log, ...rest } = options;
  return Critical.open({
    ...rest,
    disk,
    directory: join(directory, CRITICAL_DIRECTORY),
    storeId,
    readOnly,
    log: mirror === undefined ? { ...log } : { ...log, mirror: resolve(mirror) },
    ...(witness === undefined ? {} : { witness: resolve(witness) }),
    ...(onWarning === undefined ? {} : { onWarning }),
  });
}

function checkCriticalOptions(options: CriticalStoreOptions): void {
  checkOptions("critical", options, {
    idempotency: OBJECT,
    snapshots: OBJECT,
    history: OBJECT,
    log: OBJECT,
    reserveBytes: AMOUNT,
    socket: FLAG,
    mirror: TEXT,
    witness: TEXT,
    clock: CALLBACK,
  });
  const { idempotency = {}, snapshots = {}, history = {}, log = {} } = options;
  checkOptions("critical.history", history, { keepMs: AMOUNT, keepBytes: AMOUNT });
  checkOptions("critical.idempotency", idempotency, { keepMs: AMOUNT, keys: AMOUNT });
  checkOptions("critical.snapshots", snapshots, {
    everyRecords: AMOUNT,
    everyBytes: AMOUNT,
    bytesPerSecond: RATE,
  });
  checkOptions("critical.log", log, { segmentBlocks: whole(1), sealAfterMs: AMOUNT });
}

/** What nobody has asked to be told of is still said aloud: a full disk or a lost mirror must not pass unseen. */
function warnProcess(message: string, error: unknown): void {
  const detail =
    error === undefined ? {} : { detail: error instanceof Error ? error.message : String(error) };
  process.emitWarning(message, { type: "VarveWarning", ...detail });
}

/** Every block of the store's critical log, or of the log in another directory, damaged or beside a living writer. */
export function inspectWal(directory: string, logDirectory?: string): LogInspection {
  const path = resolve(directory);
  if (logDirectory !== undefined) return inspectLog(realDisk, resolve(logDirectory));
  if (readStoreFile(realDisk, path) === undefined) throw noStore(path);
  return inspectLog(realDisk, join(path, CRITICAL_DIRECTORY));
}

export { renderBlock } from "./src/wal/inspect.ts";

/** The critical partition, wherever it is open: in the engine that holds it, or here. */
export interface ReachedCritical {
  /** A living engine in another process answers. */
  readonly inEngine: boolean;
  call<V extends Verb>(verb: V, args: VerbArgs<V>): Promise<VerbResult<V>>;
  close(): Promise<void>;
}

export interface ReachOptions extends CriticalStoreOptions {
  access: "read" | "write";
  /** Create the store when the directory holds none. */
  create?: boolean;
  /** Before the partition is used here: opens maps with their schemas. Not called when an engine answers. */
  prepare?: (critical: Critical) => void;
  /** Told what should be known while it is open here; a warning of the process without it. */
  onWarning?: CriticalOptions["onWarning"];
}

/** So long a writer waits for another command, or an engine that is only just starting. */
const PATIENCE_MS = 3000;
const PAUSE_MS = 25;

/**
 * Reaches the critical partition of the store in `directory`: through the local socket of the engine that has it
 * open, else by opening it here, without the rest of the store.
 *
 * @throws ERR_NO_STORE, ERR_STORE_LOCKED (a writer that has no socket, or does not answer), ERR_STORE_CORRUPT, ERR_STORE_VERSION
 */
export async function reachCritical(directory: string, options: ReachOptions): Promise<ReachedCritical> {
  const { access, create = false, prepare, onWarning, ...rest } = options;
  const path = resolve(directory);
  const { storeId } = readStoreFile(realDisk, path) ?? (await createOrRefuse(path, create));
  const waitUntilMs = performance.now() + PATIENCE_MS;
  for (;;) {
    const engine = await connect(path);
    if (engine !== undefined) {
      return {
        inEngine: true,
        call: (verb, args) => engine.call(verb, args),
        close: async () => engine.close(),
      };
    }
    try {
      return openHere({ path, storeId, access, prepare, onWarning, options: rest });
    } catch (error) {
      if (!isStoreError(error, "ERR_STORE_LOCKED") || performance.now() > waitUntilMs) throw error;
      await new Promise((done) => setTimeout(done, PAUSE_MS));
    }
  }
}

async function createOrRefuse(path: string, create: boolean) {
  if (create) return createStore(realDisk, path, wallClockUs);
  throw noStore(path);
}

function noStore(path: string): StoreError {
  return new StoreError("ERR_NO_STORE", `${path} holds no store`, {
    context: { directory: path },
    hint: "Check the directory, or create a store there with `varve init`.",
  });
}

async function connect(path: string): Promise<EngineClient | undefined> {
  try {
    const directory = join(path, CRITICAL_DIRECTORY);
    return await EngineClient.connect(directory, { holder: () => writerOf(directory) });
  } catch (error) {
    // A path too long for a socket has no engine behind it either.
    if (isStoreError(error, "ERR_NOT_FOUND") || isStoreError(error, "ERR_LIMIT")) return undefined;
    throw error;
  }
}

function writerOf(directory: string): string {
  const pid = findWriter(realDisk, directory)?.pid ?? 0;
  return pid === 0 ? "the engine" : `process ${pid}`;
}

interface Opening {
  path: string;
  storeId: Uint8Array;
  access: "read" | "write";
  prepare: ReachOptions["prepare"];
  onWarning: CriticalOptions["onWarning"];
  options: CriticalStoreOptions;
}

/** Holds the store's shared lock meanwhile, as every opening does: repair waits for it. */
function openHere({ path, storeId, access, prepare, onWarning, options }: Opening): ReachedCritical {
  const lock = lockStore(realDisk, path, "shared");
  try {
    const place = { disk: realDisk, directory: path, storeId, readOnly: access === "read" };
    const critical = openCritical(place, { socket: false, ...options }, onWarning);
    const close = async () => {
      try {
        await critical.close();
      } finally {
        lock?.close();
      }
    };
    try {
      prepare?.(critical);
    } catch (error) {
      close().catch(() => {});
      throw error;
    }
    const verbs = verbsOf(critical);
    const call = async <V extends Verb>(verb: V, args: VerbArgs<V>): Promise<VerbResult<V>> =>
      (await (verbs[verb] as (args: VerbArgs<V>) => unknown)(args)) as VerbResult<V>;
    return { inEngine: false, call, close };
  } catch (error) {
    lock?.close();
    throw error;
  }
}
