import { once } from "node:events";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { isMainThread } from "node:worker_threads";
import { Packr } from "msgpackr";
import type { Disk } from "../disk/disk.ts";
import { type ShortPath, shortPath } from "../disk/short-path.ts";
import { type ErrorRecord, fromErrorRecord, StoreError, toErrorRecord } from "../errors.ts";
import { SOCKET_CONNECTIONS_MAX, SOCKET_MESSAGE_BYTES_MAX } from "../limits.ts";
import {
  type CriticalVerbs,
  isVerb,
  unknownVerb,
  type Verb,
  type VerbArgs,
  type VerbResult,
} from "./verbs.ts";

/**
 * The engine's door for other processes of the same user: a local socket in the store directory. A message is a
 * u32 length (little-endian) and MessagePack: `{id, verb, args}` one way, `{id, value}` or `{id, error}` the other.
 */
const SOCKET_NAME = "engine.sock";
/** What the system allows for a socket's path on Linux (108 with the final zero). */
const PATH_BYTES_MAX = 107;
const OWNER_ONLY = 0o177;
/** An engine silent for so long is asked for a sign of life, and given up when none comes in as long again. */
const PATIENCE_MS = 10_000;
/** The id of that question: no call has it. */
const SIGN_OF_LIFE = 0;

interface Request {
  id: number;
  verb: Verb;
  args: object;
}

interface Reply {
  id: number;
  value?: unknown;
  error?: ErrorRecord;
}

const packr = new Packr({ useRecords: false, useBigIntExtension: true, moreTypes: true, copyBuffers: true });

/** Lets other processes in; they get what `verbs` do, errors included. Closing it removes the socket. */
export class EngineSocket {
  readonly path: string;
  /** What the system is told: the path, or a shorter name of it. */
  readonly #address: Address;
  readonly #server: Server;
  readonly #connections = new Set<Socket>();

  /** The socket, or `undefined` when there can be none, which `onError` is told. */
  static open(
    { disk, directory }: { disk: Disk; directory: string },
    verbs: CriticalVerbs,
    onError: (error: unknown) => void,
  ): EngineSocket | undefined {
    try {
      return new EngineSocket(disk, directory, verbs, onError);
    } catch (error) {
      onError(error);
      return undefined;
    }
  }

  /** Must be called by whoever holds the store's lock: a socket that lies there already is a dead engine's. */
  constructor(disk: Disk, directory: string, verbs: CriticalVerbs, onError: (error: unknown) => void) {
    this.path = `${directory}/${SOCKET_NAME}`;
    if (!isMainThread) {
      throw new StoreError(
        "ERR_INVALID_ARGUMENT",
        "the engine's socket can only be opened by the main thread",
        {
          hint: "A worker thread cannot restrict the socket to its owner; the engine runs without it.",
        },
      );
    }
    this.#address = addressOf(directory);
    this.#server = createServer((socket) => this.#accept(socket, verbs));
    this.#server.maxConnections = SOCKET_CONNECTIONS_MAX;
    this.#server.on("error", onError);
    disk.remove(this.path);
    // The socket is made within `listen`, with the mode the mask leaves: no moment in which others could connect.
    const mask = process.umask(OWNER_ONLY);
    try {
      this.#server.listen(this.#address.path);
    } finally {
      process.umask(mask);
    }
    this.#server.unref();
  }

  #accept(socket: Socket, verbs: CriticalVerbs): void {
    this.#connections.add(socket);
    socket.unref();
    socket.on("close", () => this.#connections.delete(socket));
    socket.on("error", () => socket.destroy());
    onMessages(socket, (message) => {
      const { id, verb, args } = message as Request;
      const failed = (error: unknown) => send(socket, { id, error: toErrorRecord(error) });
      try {
        if (!isVerb(verbs, verb)) throw unknownVerb(verb);
        const value = (verbs[verb] as (args: object) => unknown)(args);
        if (value instanceof Promise) value.then((ended) => send(socket, { id, value: ended }), failed);
        else send(socket, { id, value });
      } catch (error) {
        failed(error);
      }
    });
  }

  async close(): Promise<void> {
    for (const socket of this.#connections) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#address.close();
  }
}

export interface EngineClientOptions {
  /** Milliseconds of silence after which the engine is asked for a sign of life; as long again, and it is given up. */
  patienceMs?: number;
  /** Who it is that does not answer, for the error. */
  holder?: () => string;
}

/** Calls the verbs of an engine in another process. */
export class EngineClient {
  readonly #socket: Socket;
  readonly #options: EngineClientOptions;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: unknown): void }>();
  #nextId = SIGN_OF_LIFE + 1;
  /** Runs while somebody waits. */
  #silence: NodeJS.Timeout | undefined;

  private constructor(socket: Socket, options: EngineClientOptions) {
    this.#socket = socket;
    this.#options = options;
    onMessages(socket, (message) => {
      const { id, value, error } = message as Reply;
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(value);
      else waiting?.reject(fromErrorRecord(error));
      this.#listen();
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () =>
      this.#fail(
        new StoreError("ERR_CLOSED", "the engine closed the connection before it answered", {
          retryable: true,
          hint: "It was closed or ended. A change that was asked for may have been made: look first, or repeat it with the idempotency key it had.",
        }),
      ),
    );
  }

  /** @throws ERR_NOT_FOUND when no engine listens in that directory */
  static async connect(directory: string, options: EngineClientOptions = {}): Promise<EngineClient> {
    const path = `${directory}/${SOCKET_NAME}`;
    const address = addressOf(directory);
    try {
      const socket = createConnection(address.path);
      await once(socket, "connect");
      return new EngineClient(socket, options);
    } catch (cause) {
      throw new StoreError("ERR_NOT_FOUND", `no engine listens at ${path}`, { cause, context: { path } });
    } finally {
      address.close();
    }
  }

  /** @throws what the verb throws; ERR_STORE_LOCKED when the engine gives no sign of life any more */
  call<V extends Verb>(verb: V, args: VerbArgs<V>): Promise<VerbResult<V>> {
    if (this.#socket.destroyed) {
      return Promise.reject(new StoreError("ERR_CLOSED", "the connection to the engine is closed"));
    }
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      send(this.#socket, { id, verb, args });
      this.#listen();
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Begins to wait for the next message, if one is owed. */
  #listen(): void {
    clearTimeout(this.#silence);
    this.#silence = undefined;
    if (this.#waiting.size === 0) return;
    const { patienceMs = PATIENCE_MS } = this.#options;
    this.#silence = setTimeout(() => {
      send(this.#socket, { id: SIGN_OF_LIFE, verb: "sequences", args: {} });
      this.#silence = setTimeout(() => this.#listenOnceMore(), patienceMs);
    }, patienceMs);
  }

  /** It may be this process that stood still: what has come meanwhile is read before the engine is given up. */
  #listenOnceMore(): void {
    const silence = this.#silence;
    setImmediate(() => {
      if (this.#silence === silence) this.#giveUp();
    });
  }

  #giveUp(): void {
    const holder = this.#options.holder?.() ?? "the engine";
    const error = new StoreError(
      "ERR_STORE_LOCKED",
      `${holder} has critical state open and does not answer`,
      {
        retryable: true,
        hint: "It was stopped, or something holds its event loop. A change may still be made when it goes on: look first, or repeat it with the idempotency key it had.",
      },
    );
    this.#fail(error);
    this.#socket.destroy();
  }

  #fail(error: StoreError): void {
    clearTimeout(this.#silence);
    this.#silence = undefined;
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }
}

type Address = Pick<ShortPath, "path" | "close">;

/** The path of a directory's socket as the system takes it. @throws ERR_LIMIT, ERR_NOT_FOUND */
function addressOf(directory: string): Address {
  const path = `${directory}/${SOCKET_NAME}`;
  if (Buffer.byteLength(path) <= PATH_BYTES_MAX) return { path, close: () => {} };
  const short = shortPath(directory);
  if (short !== undefined) return { path: `${short.path}/${SOCKET_NAME}`, close: () => short.close() };
  throw new StoreError(
    "ERR_LIMIT",
    `the path of the engine's socket is over ${PATH_BYTES_MAX} bytes: ${path}`,
    {
      context: { path, limitBytes: PATH_BYTES_MAX },
      hint: "Give the store a shorter path (a symbolic link will do); the engine runs without its socket.",
    },
  );
}

function send(socket: Socket, message: Request | Reply): void {
  let bytes = packr.pack(message);
  if (bytes.byteLength > SOCKET_MESSAGE_BYTES_MAX) {
    const error = toErrorRecord(
      new StoreError(
        "ERR_LIMIT",
        `a message of ${bytes.byteLength} bytes is over ${SOCKET_MESSAGE_BYTES_MAX}`,
        {
          hint: "Ask for fewer or smaller entries.",
        },
      ),
    );
    bytes = packr.pack({ id: message.id, error });
  }
  const head = Buffer.alloc(4);
  head.writeUInt32LE(bytes.byteLength, 0);
  socket.write(Buffer.concat([head, bytes]));
}

/** Cuts what arrives into messages; whoever sends nonsense is cut off. */
function onMessages(socket: Socket, handle: (message: unknown) => void): void {
  let held: Buffer = Buffer.alloc(0);
  socket.on("data", (part: Buffer) => {
    held = held.byteLength === 0 ? part : Buffer.concat([held, part]);
    while (held.byteLength >= 4) {
      const length = held.readUInt32LE(0);
      if (length > SOCKET_MESSAGE_BYTES_MAX) {
        socket.destroy();
        return;
      }
      if (held.byteLength < 4 + length) return;
      let message: unknown;
      try {
        message = packr.unpack(held.subarray(4, 4 + length));
      } catch {
        socket.destroy();
        return;
      }
      held = held.subarray(4 + length);
      if (typeof (message as Partial<Reply> | null)?.id !== "number") {
        socket.destroy();
        return;
      }
      handle(message);
    }
  });
}
