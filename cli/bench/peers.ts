import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Order } from "./workload.ts";

/** An embedded store that does the same commit: one prepared upsert of one row, one durable flush. */
export interface Peer {
  name: string;
  options: string;
  commit(key: string, value: Order): unknown;
  close(): unknown;
}

export interface Peers {
  installed: Peer[];
  /** Why the others take no part. */
  missing: { name: string; reason: string }[];
}

/** What is used of the peers, whose packages are the user's to install. */
interface Lmdb {
  open(options: object): { putSync(key: string, value: unknown): boolean; close(): Promise<void> };
}
interface Sqlite {
  default: new (
    path: string,
  ) => {
    pragma(text: string): void;
    exec(text: string): void;
    prepare(text: string): { run(...values: unknown[]): void };
    close(): void;
  };
}
interface Level {
  ClassicLevel: new (
    path: string,
    options: object,
  ) => {
    open(): Promise<void>;
    put(key: string, value: Uint8Array, options: object): Promise<void>;
    close(): Promise<void>;
  };
}
interface MessagePack {
  pack(value: unknown): Uint8Array;
}

const makers: {
  name: string;
  options: string;
  open(path: string): Promise<Omit<Peer, "name" | "options">>;
}[] = [
  {
    name: "better-sqlite3",
    options: "journal_mode WAL, synchronous FULL, prepared INSERT OR REPLACE by primary key, without rowid",
    async open(path) {
      const { default: Database } = await load<Sqlite>("better-sqlite3");
      const { pack } = await load<MessagePack>("msgpackr");
      const db = new Database(`${path}.db`);
      db.pragma("journal_mode = WAL");
      db.pragma("synchronous = FULL");
      db.exec("CREATE TABLE orders (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID");
      const upsert = db.prepare("INSERT OR REPLACE INTO orders VALUES (?, ?)");
      return {
        commit: (key, value) => upsert.run(key, pack(value)),
        close: () => db.close(),
      };
    },
  },
  {
    name: "lmdb",
    options: "putSync, overlappingSync off, MessagePack values",
    async open(path) {
      const { open } = await load<Lmdb>("lmdb");
      const db = open({ path, overlappingSync: false });
      return { commit: (key, value) => db.putSync(key, value), close: () => db.close() };
    },
  },
  {
    name: "classic-level",
    options: "put with sync, which is asynchronous: its hop to a thread is part of its cost",
    async open(path) {
      const { ClassicLevel } = await load<Level>("classic-level");
      const { pack } = await load<MessagePack>("msgpackr");
      const db = new ClassicLevel(path, { valueEncoding: "buffer" });
      await db.open();
      return {
        commit: (key, value) => db.put(key, pack(value), { sync: true }),
        close: () => db.close(),
      };
    },
  },
];

/** Opens every peer that is installed, in `directory`. */
export async function openPeers(directory: string, only?: string): Promise<Peers> {
  const peers: Peers = { installed: [], missing: [] };
  for (const { name, options, open } of makers) {
    if (only !== undefined && only !== name) continue;
    try {
      peers.installed.push({ name, options, ...(await open(join(directory, `peer-${name}`))) });
    } catch (error) {
      const isAbsent = (error as { code?: string }).code === "MODULE_NOT_FOUND";
      const reason = isAbsent ? "not installed" : String((error as Error).message).split("\n")[0]!;
      peers.missing.push({ name, reason });
    }
  }
  return peers;
}

/** Loads a package from the user's directory, varve's bench or varve itself, whichever has it first. */
async function load<Module>(name: string): Promise<Module> {
  const project = fileURLToPath(
    new URL(import.meta.url.includes("/dist/") ? "../../.." : "../..", import.meta.url),
  );
  const places = [process.cwd(), join(process.cwd(), "bench"), join(project, "bench"), project];
  const bases = places.map((place) => createRequire(join(place, "package.json")));
  for (const base of bases.slice(0, -1)) {
    try {
      return (await import(pathToFileURL(base.resolve(name)).href)) as Module;
    } catch (error) {
      if ((error as { code?: string }).code !== "MODULE_NOT_FOUND") throw error;
    }
  }
  return (await import(pathToFileURL(bases.at(-1)!.resolve(name)).href)) as Module;
}
